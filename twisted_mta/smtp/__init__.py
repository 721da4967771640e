"""The SMTP and LMTP client protocol, sans-IO."""
