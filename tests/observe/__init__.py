"""Tests of twisted_mta.observe."""
