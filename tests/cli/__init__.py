"""Tests of the smtpdeliver command."""
