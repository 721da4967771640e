"""Lookup tables ``type:name``, one module a type, and the searches over them."""
