"""The Twisted shell around smtp/: bytes in, actions out."""
