"""GNU SASL as the server's side of logins, through its shared library.

Flow: tests/kit/auth_server.py starts a GnuSaslLogin for each AUTH command.
Sources: the manual of GNU SASL, "Properties", "Using the library"; gsasl.h of version 2.2.
"""

import ctypes
import ctypes.util
import enum
from collections.abc import Callable, Mapping
from typing import Any

from tests.kit.auth_server import RefusedError

_OK, _NEEDS_MORE, _NO_CALLBACK, _AUTHENTICATION_ERROR = 0, 1, 51, 31


class Property(enum.IntEnum):
    """What a callback may be asked for, as far as these tests are."""

    AUTHID = 1
    PASSWORD = 3
    SERVICE = 5
    HOSTNAME = 6
    REALM = 11
    CB_TLS_UNIQUE = 18
    CB_TLS_EXPORTER = 25
    VALIDATE_EXTERNAL = 501
    VALIDATE_ANONYMOUS = 502


_NAME = ctypes.util.find_library("gsasl") or "libgsasl.so.18"


def _load() -> Any:
    try:
        library = ctypes.CDLL(_NAME)
    except OSError:
        return None
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, *arguments in [
        ("init", ctypes.POINTER(pointer)),
        ("server_start", pointer, text, ctypes.POINTER(pointer)),
        ("property_set", pointer, ctypes.c_int, text),
        ("step64", pointer, text, ctypes.POINTER(pointer)),
    ]:
        getattr(library, f"gsasl_{name}").argtypes = arguments
    library.gsasl_property_fast.argtypes = [pointer, ctypes.c_int]
    library.gsasl_property_fast.restype = text
    for name in ("finish", "done", "free"):
        getattr(library, f"gsasl_{name}").argtypes = [pointer]
        getattr(library, f"gsasl_{name}").restype = None
    return library


_library = _load()

MISSING = "" if _library else "needs GNU SASL (Debian package libgsasl18)"
"""Why there are no such logins here; empty: there are."""

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)


class GnuSaslLogin:
    """One login.

    Attributes:
        user: who has logged in; empty: nobody, or somebody without a name.
    """

    def __init__(
        self,
        mechanism: str,
        passwords: Mapping[str, str],
        binding: Callable[[str], str | None],
        *,
        certificate: str = "",
        service: str = "smtp",
        host: str = "localhost",
    ) -> None:
        """Begin.

        Args:
            mechanism: its name.
            passwords: of the users.
            binding: gives the channel binding of a kind, in base64.
            certificate: whose certificate the client has shown; empty: none.
            service: smtp or lmtp.
            host: the server's name.
        """
        self.user = ""
        self._complete = False
        self._passwords = passwords
        self._binding = binding
        self._certificate = certificate
        self._known = {Property.SERVICE: service, Property.HOSTNAME: host, Property.REALM: host}
        self._context, self._session = ctypes.c_void_p(), ctypes.c_void_p()
        self._check(_library.gsasl_init(ctypes.byref(self._context)))
        self._callback = _CALLBACK(self._asked)
        _library.gsasl_callback_set(self._context, self._callback)
        if _library.gsasl_server_start(self._context, mechanism.encode(), ctypes.byref(self._session)) != _OK:
            self.close()
            raise RefusedError(f"504 5.5.4 no mechanism {mechanism}")

    def step(self, response: str) -> str | None:
        """Take a response in base64; gives the next challenge, None when the login is complete.

        Raises:
            RefusedError: it is refused.
        """
        if self._complete:
            return None
        answer = ctypes.c_void_p()
        status = _library.gsasl_step64(self._session, response.encode(), ctypes.byref(answer))
        if status not in (_OK, _NEEDS_MORE):
            raise RefusedError("535 5.7.8 authentication failed")
        challenge = ctypes.string_at(answer.value or 0).decode()
        _library.gsasl_free(answer)
        if status == _OK:
            self.user = (_library.gsasl_property_fast(self._session, Property.AUTHID) or b"").decode()
            # What the server says last is a challenge that is answered with nothing.
            self._complete = True
            return challenge or None
        return challenge

    def close(self) -> None:
        """Free what the library holds."""
        if self._session:
            _library.gsasl_finish(self._session)
        if self._context:
            _library.gsasl_done(self._context)
        self._session, self._context = ctypes.c_void_p(), ctypes.c_void_p()

    def _asked(self, context: int, session: int, which: int) -> int:
        value = self._value(session, which)
        if value is None:
            return _NO_CALLBACK
        if isinstance(value, bool):
            return _OK if value else _AUTHENTICATION_ERROR
        return int(_library.gsasl_property_set(session, which, value.encode()))

    def _value(self, session: int, which: int) -> str | bool | None:
        if which == Property.PASSWORD:
            user = (_library.gsasl_property_fast(session, Property.AUTHID) or b"").decode()
            return self._passwords.get(user)
        if which == Property.CB_TLS_UNIQUE:
            return self._binding("tls-unique")
        if which == Property.CB_TLS_EXPORTER:
            return self._binding("tls-exporter")
        if which == Property.VALIDATE_EXTERNAL:
            return bool(self._certificate)
        if which == Property.VALIDATE_ANONYMOUS:
            return True
        return self._known.get(Property(which)) if which in set(Property) else None

    def _check(self, status: int) -> None:
        if status != _OK:
            raise AssertionError(f"GNU SASL: error {status}")
