"""Mail delivery over SMTP and LMTP in one Twisted process."""

__version__ = "0.1.0.dev0"
