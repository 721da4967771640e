"""Tests of twisted_mta.session."""
