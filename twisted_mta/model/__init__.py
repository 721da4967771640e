"""The shared words: frozen values, no behaviour that needs the outside world."""
