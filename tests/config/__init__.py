"""Tests of twisted_mta.config."""
