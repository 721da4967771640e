"""Tests of twisted_mta.routing."""
