"""Tests of twisted_mta: the tree mirrors the package; kit/ holds what they share."""
