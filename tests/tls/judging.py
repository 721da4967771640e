"""Servers that are judged: what they show, by which policy, and what was told.

shown = Shown.by(pki["valid"], trusts=[pki.root])         a handshake in memory
judged = judge_by(policy, shown)                          its Verdict, and the lines
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from tests.kit.pki import Identity
from tests.kit.tls_server import TlsServer, shake_hands
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.demands import Demands, demands_of
from twisted_mta.tls.faults import CallbackEvent
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.rules import VerificationRules
from twisted_mta.tls.verification import Verdict, judge

HOST = "mx1.dest.example"
SERVER = "mx1.dest.example[192.0.2.1]:25"
PEER = Peer(HOST, "192.0.2.1", "MX1.dest.example[192.0.2.1]", "MX1.dest.example[192.0.2.1]:25", "dest.example")
QUIET = VerificationRules()

__all__ = ["HOST", "PEER", "QUIET", "SERVER", "Judged", "Shown", "associated", "judge_by", "line"]


@dataclass(frozen=True)
class Shown:
    """What a server shows: its certificates in DER, and what OpenSSL's callback had to say of them."""

    chain: tuple[bytes, ...]
    events: tuple[CallbackEvent, ...] = ()

    @classmethod
    def of(cls, *identities: Identity) -> "Shown":
        """Certificates, without any events."""
        return cls(tuple(identity.der for identity in identities))

    @classmethod
    def by(cls, identity: Identity, trusts: Sequence[Identity] = (), depth_limit: int = 9) -> "Shown":
        """A handshake with a server; `trusts` are the authorities that we know."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify_depth(depth_limit + 1)
        for authority in trusts:
            store = context.get_cert_store()
            assert store is not None
            store.add_cert(crypto.X509.from_cryptography(authority.certificate))
        events: list[CallbackEvent] = []

        def told(_: SSL.Connection, certificate: crypto.X509, error: int, depth: int, fine: int) -> bool:
            events.append(CallbackEvent(depth, error, bool(fine), certificate))
            return True

        context.set_verify(SSL.VERIFY_NONE, told)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        shake_hands(client, TlsServer(identity).accept())
        sent: list[x509.Certificate] = client.get_peer_cert_chain(as_cryptography=True) or []
        return cls(tuple(certificate.public_bytes(Encoding.DER) for certificate in sent), tuple(events))


@dataclass
class Judged:
    """The end of it.

    Attributes:
        demands: that were made.
        verdict: that was found.
        lines: that were told, those before the handshake included; warnings have that word in front.
    """

    demands: Demands
    verdict: Verdict
    lines: list[str] = field(default_factory=list)


def judge_by(policy: TlsPolicy, shown: Shown, rules: VerificationRules = QUIET, peer: Peer = PEER) -> Judged:
    """Judge what a server shows."""
    lines: list[str] = []

    def emit(event: Event) -> None:
        lines.append(line(event))

    demands = demands_of(policy, peer, rules, emit)
    return Judged(demands, judge(demands, shown.chain, shown.events, rules, emit), lines)


def associated(identity: Identity, usage: int, selector: int, matching_type: int = 0) -> Association:
    """What a TLSA record would say of a certificate."""
    data = identity.der if selector == 0 else identity.public_key_der
    digest = QUIET.record_digests.by_type.get(matching_type)
    return Association(usage, selector, matching_type, digest.of(data) if digest else data)


def line(event: Event) -> str:
    """The line of an event."""
    severity, text = line_of(event, LogStyle())
    return f"{severity.value}: {text}" if severity.value else text
