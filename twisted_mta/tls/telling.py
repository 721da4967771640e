"""Errors of OpenSSL as events.

Flow: the modules of tls/ that call the library and fail.
Sources: ERR_error_string(3); the "TLS library problem" lines of smtp(8).
"""

from collections.abc import Iterable

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsLibraryProblem
from twisted_mta.tls.library_error import LibraryError


def tell_library_errors(errors: Iterable[LibraryError], emit: Emit) -> None:
    """Tell each error; file and line within the library are not known here."""
    for number, library, reason, more in errors:
        shown = f"{number:08X}" if number else ""
        emit(TlsLibraryProblem(f"error:{shown}:{library}::{reason}:{more and more + ':'}"))
