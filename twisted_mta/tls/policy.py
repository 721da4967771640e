"""What is demanded of TLS with one server: a value that says all of it.

Flow: tls/policies.py makes one for each candidate; delivery/ decides by it, tls/engine.py carries it out.
Sources: postconf(5) smtp_tls_policy_maps; TLS_README; RFC 6698 section 2.1.
"""

from dataclasses import dataclass

from twisted_mta.tls.levels import Level


@dataclass(frozen=True, slots=True, order=True)
class Association:
    """A certificate association: the fields of a TLSA record (RFC 6698 section 2.1), wherever it comes from."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """How to talk TLS with one server.

    Attributes:
        level: what is demanded; DANE levels are settled: their look-ups are done.
        protocols: the list of protocol versions, as it was written.
        grade: the grade of ciphers, as it was written.
        exclusions: the ciphers to leave out, as they were written, with those that the level leaves out.
        matches: the names to match at levels verify and secure: names, ``.domain``, or the words hostname, nexthop and
            dot-nexthop; the fingerprints to match at level fingerprint, as they were written.
        trust_anchors: what replaces the certification authorities: pairs of usage 2 and 3 for each object of the trust
            anchor files; empty: nothing does.
        servername: the name to ask for (SNI), the words hostname and nexthop replaced; empty: none.
        associations: the TLSA records at DANE levels, all that were found.
        dane_names: the names that a certificate may have at DANE levels where a trust anchor signed it.
        nexthop: the domain of the destination, without brackets and port; our own name for a local socket.
        connection_reuse: whether the connection may be kept for the next message.
        enable_rpk: whether raw public keys were asked for; without effect.
    """

    level: Level
    protocols: str = ""
    grade: str = "medium"
    exclusions: str = ""
    matches: tuple[str, ...] = ()
    trust_anchors: tuple[Association, ...] = ()
    servername: str = ""
    associations: tuple[Association, ...] = ()
    dane_names: tuple[str, ...] = ()
    nexthop: str = ""
    connection_reuse: bool = False
    enable_rpk: bool = False


NO_TLS = TlsPolicy(Level.NONE)
"""Where TLS is not used at all."""
