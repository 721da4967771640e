"""A scripted mail server that knows AUTH: somebody else says whether a login is good.

Flow: a test makes an AuthServer with a function that begins a ServerLogin for each AUTH command.
Sources: RFC 4954 section 4; RFC 5929 section 3; RFC 9266 section 2.
"""

import base64
from collections.abc import Callable
from typing import Any, Protocol

from OpenSSL import SSL

from tests.kit.script import Script
from tests.kit.smtp_server import ScriptedServer, ScriptedSession

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_OCTETS = 32


class RefusedError(Exception):
    """A login is refused; the text is the reply."""


class ServerLogin(Protocol):
    """The server's side of one login."""

    user: str

    def step(self, response: str) -> str | None:
        """Take a response in base64, the empty text for none; gives the next challenge, or None: the login is complete.

        Raises:
            RefusedError: it is refused.
        """

    def close(self) -> None:
        """It is over."""


Begin = Callable[[str, Callable[[str], str | None], str], ServerLogin]
"""Begins a login by a mechanism, given what tells channel bindings in base64 and whose certificate was shown; may raise
RefusedError."""


class AuthSession(ScriptedSession):
    """One connection; what the script says of AUTH is not asked."""

    server: "AuthServer"
    _login: ServerLogin | None = None
    _name = ""

    def _command(self, line: str) -> None:
        if self._login is not None:
            self.record.commands.append(line)
            self._step(self._login, line)
            return
        words = line.split(" ")
        if words[0].upper() != "AUTH":
            super()._command(line)
            return
        self.record.commands.append(line)
        handshake = self.record.handshake
        try:
            login = self.server.begin(words[1].upper(), self._binding, handshake.client if handshake else "")
        except RefusedError as refused:
            self._say(str(refused))
            return
        self._name = words[1].upper()
        self._login = login
        self._step(login, "" if words[2:] in ([], ["="]) else words[2])

    def _step(self, login: ServerLogin, response: str) -> None:
        try:
            challenge = login.step(response)
        except RefusedError as refused:
            self._end_login(login, str(refused))
            return
        if challenge is not None:
            self._say(f"334 {challenge}")
            return
        self.server.logins.append(f"{self._name} {login.user}".rstrip())
        self._end_login(login, "235 2.7.0 welcome")

    def _end_login(self, login: ServerLogin, reply: str) -> None:
        self._login = None
        login.close()
        self._say(reply)

    def _binding(self, kind: str) -> str | None:
        handshake = self.record.handshake
        data = binding_of(handshake.connection, kind) if handshake else None
        return None if data is None else base64.b64encode(data).decode()


def binding_of(connection: Any, kind: str) -> bytes | None:
    """The channel binding of a TLS connection, at the server's end; None: there is none of this kind."""
    is_newest = connection.get_protocol_version() == SSL.TLS1_3_VERSION
    if kind == "tls-exporter" and is_newest:
        exported: bytes = connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b"")
        return exported
    if kind == "tls-unique" and not is_newest:
        finished: bytes | None = connection.get_peer_finished()
        return finished
    return None


class AuthServer(ScriptedServer):
    """A server with any number of sessions.

    Attributes:
        begin: begins the server's side of a login.
        logins: mechanism and user of each login that was good.
    """

    session_type = AuthSession

    def __init__(self, script: Script, clock: Any, begin: Begin) -> None:
        super().__init__(script, clock)
        self.begin = begin
        self.logins: list[str] = []

    def buildProtocol(self, addr: object) -> ScriptedSession:
        """A session for a new connection."""
        session = super().buildProtocol(addr)
        assert isinstance(session, AuthSession)
        session.server = self
        return session
