"""What happened, as lines for people and programs."""
