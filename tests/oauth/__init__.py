"""Tests of OAuth2 tokens: accounts, files, requests over HTTP, and what provides tokens."""
