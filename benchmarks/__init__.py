"""Measurements side by side with real Postfix: `throughput.py` is the program, the other modules are its parts."""
