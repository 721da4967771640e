"""The library that python-ldap uses, libldap, where it can do what python-ldap has no name for.

Flow: ldap_session.py limits what a server may send; ldap_sasl.py logs in.
Sources: ldap_get_option(3); <ldap.h>, <lber.h>; the documentation of python-ldap.
"""

import ctypes
from typing import Any

import _ldap  # type: ignore[import-not-found]  # a part of python-ldap

_SOCKET_BUFFER = 0x5008
"""LDAP_OPT_SOCKBUF."""

_SET_MAX_INCOMING = 14
"""LBER_SB_OPT_SET_MAX_INCOMING."""

# Through python-ldap's own module it is the very library that this is linked with.
library = ctypes.CDLL(_ldap.__file__)

_get_option = library.ldap_get_option
_get_option.restype, _get_option.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_buffer_control = library.ber_sockbuf_ctrl
_buffer_control.restype, _buffer_control.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

_HEAD_OCTETS = object.__basicsize__
_KNOWN_OCTETS = _HEAD_OCTETS + 2 * ctypes.sizeof(ctypes.c_void_p) + ctypes.alignment(ctypes.c_void_p)
"""Of python-ldap's connection: what all objects have, the library's handle, a pointer, and a flag."""


def handle_of(connection: Any) -> ctypes.c_void_p | None:
    """The library's handle of a connection; None where python-ldap is another one, whose connections look different."""
    if type(connection._l).__basicsize__ != _KNOWN_OCTETS:
        return None
    return ctypes.c_void_p.from_address(id(connection._l) + _HEAD_OCTETS)


def limit_messages(connection: Any, octets: int) -> None:
    """Have a connection fail when a server announces a message that is longer."""
    handle = handle_of(connection)
    buffer, most = ctypes.c_void_p(), ctypes.c_ulong(octets)
    if handle is not None and _get_option(handle, _SOCKET_BUFFER, ctypes.byref(buffer)) == 0 and buffer:
        _buffer_control(buffer, _SET_MAX_INCOMING, ctypes.byref(most))
