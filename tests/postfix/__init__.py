"""Tests of the rooms that make a delivery agent under Postfix."""
