"""The message on its way out, sans-IO."""
