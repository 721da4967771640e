"""Deliveries from end to end in one process, over loopback: one behaviour a file."""
