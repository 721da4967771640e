"""TLS for the scripted mail server: the other end of what the session under test does.

Flow: tests/kit/smtp_server.py begins it where a Script has `tls`; tests make the context with `server_context`.
Sources: RFC 3207.
"""

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.kit.pki import Identity
from twisted_mta.session.secure_transport import SecureTransport
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import Connection, was_resumed
from twisted_mta.tls.state import TlsState


def server_context(
    identity: Identity,
    *,
    asks_for_certificate: bool = False,
    version: int = 0,
    ciphers: bytes = b"",
) -> SSL.Context:
    """A context that shows a certificate with its chain.

    Args:
        identity: the certificate.
        asks_for_certificate: whether clients are asked for theirs; any will do, and none.
        version: the only version of TLS, as OpenSSL counts them; 0: what the library has.
        ciphers: an OpenSSL list for TLS 1.2 and older; empty: the library's.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if version:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if ciphers:
        context.set_cipher_list(ciphers)
    if asks_for_certificate:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    leaf, *issuers = identity.chain
    context.use_certificate(crypto.X509.from_cryptography(leaf))
    context.use_privatekey(crypto.PKey.from_cryptography_key(identity.key))
    for issuer in issuers:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(issuer))
    context.set_session_id(b"scripted")
    return context


class ServerHandshake:
    """The server's end of a handshake; keeps whether it came to an end.

    Attributes:
        servername: what the client asked for (SNI); empty: nothing.
        client: the common name of its certificate; empty: it showed none.
        protocol: such as ``TLSv1.3``.
        cipher: its name.
        group: of the key exchange; empty: none that has a name.
        reused: whether an earlier session was taken up.
        problem: why it failed; None: it did not.
    """

    def __init__(self, context: SSL.Context) -> None:
        self.connection = Connection(context)
        self.connection.set_accept_state()
        self.servername = self.client = self.protocol = self.cipher = self.group = ""
        self.reused = False
        self.problem: SSL.Error | str | None = None

    def completed(self) -> TlsState:
        """Nothing is judged."""
        connection = self.connection
        self.servername = (connection.get_servername() or b"").decode()
        certificate = connection.get_peer_certificate()
        self.client = (certificate.get_subject().CN or "") if certificate else ""
        self.protocol = connection.get_protocol_version_name()
        self.cipher = connection.get_cipher_name() or ""
        self.group = connection.get_group_name() or ""
        self.reused = was_resumed(connection)
        return TlsState(Level.MAY, self.protocol, self.cipher, 0, 0, False, False, False, False)

    def failed(self, problem: SSL.Error | str) -> None:
        """Keep why."""
        self.problem = problem

    def application_data_came(self) -> None:
        """Nothing is kept."""

    def broken(self, error: SSL.Error | None = None) -> None:
        """Nothing is kept."""

    def closed(self) -> None:
        """Nothing is kept."""


class _Wire:
    """A connection of Twisted, or one in memory, as SecureTransport wants it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def protocol(self) -> Any:
        """Who takes the octets."""
        return self._transport.protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._transport.protocol = protocol

    def dropConnection(self) -> None:
        """Close, whatever waits to be sent."""
        getattr(self._transport, "dropConnection", self._transport.loseConnection)()

    def unsentOctets(self) -> int:
        """Nobody asks a server."""
        return 0


class _Inside:
    """A server's protocol, as SecureTransport wants it."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.dataReceived = protocol.dataReceived

    def readConnectionLost(self) -> None:
        """The client says no more: neither does a server."""
        assert self._protocol.transport is not None
        self._protocol.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self._protocol.connectionLost(reason)

    def wrote(self, octets: int) -> None:
        """Nobody counts."""


def begin_tls(protocol: Any, context: SSL.Context, then: Callable[[], None]) -> ServerHandshake:
    """Put TLS below a server's protocol.

    Args:
        protocol: the server's.
        context: shapes the handshake.
        then: called when hands are shaken.
    """
    handshake = ServerHandshake(context)
    server: Any = handshake
    transport = SecureTransport(_Wire(protocol.transport), _Inside(protocol), server, fast_shutdown=True)
    protocol.transport = transport
    transport.start().addCallbacks(lambda _: then(), lambda _: None)
    return handshake
