"""Tests of twisted_mta.tables."""
