"""Tests of twisted_mta.smtp."""
