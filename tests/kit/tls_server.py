"""The server's end of TLS in memory, to shake hands with without a network.

    server = TlsServer(shared_pki()["valid"])
    end = server.accept()
    shake_hands(client, end)          # client: an OpenSSL.SSL.Connection over memory, in connect state
    end.send(b"250 ok"); pass_on(client, end); client.recv(100)

Flow: tests of twisted_mta.tls.
Sources: OpenSSL.SSL of pyOpenSSL.
"""

from collections.abc import Sequence

from OpenSSL import SSL

from tests.kit.pki import Identity
from twisted_mta.tls.library import set_groups

_CHUNK = 65536


class TlsServer:
    """A server, with sessions and tickets of its own; each `accept` is a connection.

    Attributes:
        context: shapes the connections; it can be changed until the first `accept`.
        asked_for: the names that clients asked for (SNI), in order; None: no name.
    """

    def __init__(
        self,
        identities: Identity | Sequence[Identity] = (),
        *,
        ciphers: str = "",
        groups: str = "",
        versions: tuple[int, int] = (0, 0),
        asks_for_certificate: bool = False,
        gives_tickets: bool = True,
    ) -> None:
        """Make a server.

        Args:
            identities: its certificates, with their keys; none: it can only do anonymous ciphers, up to TLS 1.2.
            ciphers: list, for versions before TLS 1.3; empty: whatever suits the certificates.
            groups: list between colons; empty: the library's.
            versions: lowest and highest; 0: no limit.
            asks_for_certificate: whether clients are to show one.
            gives_tickets: whether sessions can be taken up by ticket.
        """
        self.asked_for: list[str | None] = []
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        if not identities:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list((ciphers or ("DEFAULT" if identities else "aNULL")).encode() + b":@SECLEVEL=0")
        context.set_session_id(b"tests")
        if not gives_tickets:
            context.set_options(SSL.OP_NO_TICKET)
        for identity in (identities,) if isinstance(identities, Identity) else identities:
            context.use_certificate(identity.certificate)
            context.use_privatekey(identity.key)
            for issuer in identity.issuers:
                context.add_extra_chain_cert(issuer)
        if groups:
            assert set_groups(context, groups)
        if asks_for_certificate:
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_tlsext_servername_callback(self._note_name)

    def _note_name(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        self.asked_for.append(None if name is None else name.decode("utf-8", "replace"))

    def accept(self) -> SSL.Connection:
        """The server's end of a new connection."""
        connection = SSL.Connection(self.context, None)
        connection.set_accept_state()
        return connection


def pass_on(one: SSL.Connection, other: SSL.Connection) -> bool:
    """Bring what each end has to send to the other one; whether there was anything."""
    passed = False
    for source, target in ((one, other), (other, one)):
        while True:
            try:
                data = source.bio_read(_CHUNK)
            except SSL.WantReadError:
                break
            target.bio_write(data)
            passed = True
    return passed


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Shake hands to the end, and bring over what the server sends after it.

    Raises:
        SSL.Error: what the client's library says, once it fails, or else the server's.
    """
    problem: SSL.Error | None = None
    open_ends = [client, server]
    while open_ends:
        for end in tuple(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except SSL.WantReadError:
                continue
            except SSL.Error as error:
                open_ends.remove(end)
                problem = error if end is client or problem is None else problem
        if not pass_on(client, server) and open_ends:
            break
    if problem is not None:
        raise problem
    assert not open_ends, "the handshake stands still"
