"""Tests of TLS with servers."""
