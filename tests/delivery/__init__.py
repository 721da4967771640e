"""Tests of twisted_mta.delivery."""
