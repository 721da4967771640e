"""What OpenSSL says of an error, as a value.

Flow: tls/library.py takes errors from the library; tls/telling.py tells them. This module needs no library, so that it can be
known what is wrong with a configuration of OpenSSL before OpenSSL is loaded.
Sources: ERR_error_string(3).
"""

LibraryError = tuple[int, str, str, str]
"""Number (0: not known), name of the library, reason, what else is known."""
