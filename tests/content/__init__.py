"""Tests of twisted_mta.content."""
