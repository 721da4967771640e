"""Log in to an LDAP server by SASL, without stopping other threads.

python-ldap keeps the interpreter's lock while it does that, as the library asks back meanwhile: all threads would wait for the
server, the reactor among them. So the library is called directly, with the handle of python-ldap's connection.

Flow: ldap_session.py calls `bind`.
Sources: ldap_sasl_bind(3); <sasl/sasl.h>.
"""

import ctypes
from collections.abc import Mapping
from typing import Any

import ldap
import ldap.sasl

from twisted_mta.tables.ldap_library import handle_of, library

_QUIET = 2
"""LDAP_SASL_QUIET: nobody is there to be asked."""

_LIST_END = 0
"""SASL_CB_LIST_END."""


class _Question(ctypes.Structure):
    """A sasl_interact_t."""

    _fields_ = (
        ("id", ctypes.c_ulong),
        ("challenge", ctypes.c_char_p),
        ("prompt", ctypes.c_char_p),
        ("default", ctypes.c_char_p),
        ("result", ctypes.c_void_p),
        ("length", ctypes.c_uint),
    )


_Answer = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.POINTER(_Question)
)  # an LDAP_SASL_INTERACT_PROC

_bind = library.ldap_sasl_interactive_bind_s
_bind.restype = ctypes.c_int
_bind.argtypes = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_uint,
    _Answer,
    ctypes.c_void_p,
)
_err2string = library.ldap_err2string
_err2string.restype, _err2string.argtypes = ctypes.c_char_p, (ctypes.c_int,)


def bind(connection: Any, mechanisms: str, answers: Mapping[int, str]) -> None:
    """Log in.

    Args:
        connection: python-ldap's.
        mechanisms: to choose from, with blanks between them; empty: all that the server offers.
        answers: what to say when the library asks, by the numbers of its questions: ldap.sasl.CB_PASS and its likes.

    Raises:
        ldap.LDAPError: it did not work.
    """
    handle = handle_of(connection)
    if handle is None:  # so that it works, if not as well
        connection.sasl_interactive_bind_s("", ldap.sasl.sasl(dict(answers), mechanisms))
        return
    said = {
        number: ctypes.create_string_buffer(text.encode("utf-8", "surrogateescape")) for number, text in answers.items()
    }
    nothing = ctypes.create_string_buffer(b"")

    def reply(_handle: Any, _flags: Any, _defaults: Any, questions: Any) -> int:
        at = 0
        while questions[at].id != _LIST_END:
            text = said.get(questions[at].id, nothing)
            questions[at].result, questions[at].length = ctypes.addressof(text), len(text) - 1
            at += 1
        return 0

    status = _bind(handle, b"", mechanisms.encode(), None, None, _QUIET, _Answer(reply), None)
    if status:
        info = connection.get_option(ldap.OPT_DIAGNOSTIC_MESSAGE)
        raise ldap.LDAPError({"result": status, "desc": _err2string(status).decode(), "info": info or ""})
