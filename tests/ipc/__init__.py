"""Tests of the attribute protocol and its clients."""
