"""Tests of SASL with servers."""
