"""``smtpdeliver tls``: connect to the hosts of a destination, and tell what TLS with them is worth, as posttls-finger(1) does.

No mail is sent, and nobody logs in. The hosts are found, the policy is looked up, and the handshake is judged by the same code
that delivers mail; what this shows is what a delivery would meet.

Flow: `run` asks each host in turn, `Finding` holds what was seen, and is shown as text or JSON.
Sources: posttls-finger(1); postconf(5) smtp_tls_security_level; sysexits.h for the exit status.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.cli.console import USUAL_DIRECTORY, complain, find_config_directory, show
from twisted_mta.cli.name_servers import name_server
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.delivery.deliver import AgentParts
from twisted_mta.delivery.dial import DialError
from twisted_mta.delivery.factory import DestinationFactory
from twisted_mta.model.events import Event
from twisted_mta.model.text import printable
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.routing.candidates import Candidate
from twisted_mta.routing.destination import Destination, parse_nexthop
from twisted_mta.routing.router import Route
from twisted_mta.session.session import Session, TlsFailedError
from twisted_mta.smtp.actions import ConnectionBrokenError
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import start_again_if_needed
from twisted_mta.tls.policies import TlsPolicyError
from twisted_mta.tls.policy import NO_TLS, TlsPolicy
from twisted_mta.tls.state import TlsState

QUIETLY = (("smtp_sasl_auth_enable", "no"), ("notify_classes", ""), ("smtp_connection_cache_on_demand", "no"))
"""What delivers mail, and would only disturb here."""

TALKATIVE = "summary, untrusted, peercert, certmatch, dane"
"""The classes of smtp_tls_loglevel that are shown, unless the command line sets the parameter."""


@dataclass(slots=True)
class Finding:
    """What was seen of one host.

    Attributes:
        relay: ``host[address]:port``.
        policy: what is demanded: level, protocols, ciphers, matches, servername, associations.
        tls: what is in force: protocol, cipher, bits, trusted, matched, secured; None: no TLS.
        certificates: as the server showed them, its own first.
        would_deliver: whether a delivery would go on to send mail.
        problem: why not; empty if it would.
        log: what a delivery would have logged.
    """

    relay: str
    policy: dict[str, Any] = field(default_factory=dict)
    tls: dict[str, Any] | None = None
    certificates: list[dict[str, Any]] = field(default_factory=list)
    would_deliver: bool = False
    problem: str = ""
    log: list[str] = field(default_factory=list)


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser(
        "tls",
        help="tell what TLS with a destination is worth",
        description=__doc__.partition("\n\nFlow:")[0],
        epilog=USUAL_DIRECTORY,
    )
    own.add_argument("--protocol", choices=("smtp", "lmtp"), default="smtp")
    own.add_argument(
        "--level", default="", metavar="LEVEL", help="the security level; default: that of the configuration"
    )
    own.add_argument("-o", dest="overrides", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    own.add_argument("--nameserver", action="append", default=[], metavar="ADDRESS[:PORT]", help="ask this name server")
    own.add_argument("--json", action="store_true", help="one JSON object a host")
    own.add_argument("destination", metavar="DESTINATION", help="as a next hop is written: example.com, [host]:587")
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the hosts of a destination.

    Returns:
        0: a delivery would send mail to one of them; 69: to none; 64 or 78: wrong options or settings.
    """
    overrides = [*QUIETLY]
    try:
        given = [parse_override(text) for text in arguments.overrides]
        prefix = arguments.protocol
        if f"{prefix}_tls_loglevel" not in dict(given):
            overrides.append((f"{prefix}_tls_loglevel", TALKATIVE))
        if arguments.level:
            # The level of the command line is that of every host.
            overrides += [(f"{prefix}_tls_policy_maps", ""), (f"{prefix}_tls_per_site", "")]
            overrides.append((f"{prefix}_tls_security_level", arguments.level))
        settings = load_settings(
            find_config_directory(arguments.config_directory),
            protocol=arguments.protocol,
            overrides=[*overrides, *given],
        )
    except ConfigError as error:
        complain(str(error))
        return os.EX_CONFIG
    start_again_if_needed(OpensslConfiguration.from_settings(settings))
    try:
        servers = [name_server(text) for text in arguments.nameserver]
    except ValueError as error:
        complain(f"--nameserver: {error}")
        return os.EX_USAGE

    async def job(reactor: Any) -> int:
        try:
            findings = await examine(reactor, settings, arguments.destination, servers)
        except ConfigError as error:
            complain(str(error))
            return os.EX_CONFIG
        show(line for finding in findings for line in (_as_json(finding) if arguments.json else _as_text(finding)))
        return os.EX_OK if any(finding.would_deliver for finding in findings) else os.EX_UNAVAILABLE

    return run_in_reactor(job)


async def examine(reactor: Any, settings: Settings, nexthop: str, servers: list[tuple[str, int]]) -> list[Finding]:
    """Ask all hosts of a destination, in the order in which a delivery would.

    Args:
        reactor: makes connections.
        settings: of the protocol.
        nexthop: the destination.
        servers: name servers; empty: those of resolv.conf.

    Raises:
        ConfigError: a setting cannot be used.
    """
    log: list[str] = []

    def emit(event: Event) -> None:
        severity, text = line_of(event, LogStyle())
        log.append(f"{severity.value}: {text}" if severity.value else text)

    tables = open_tables(settings, reactor, emit)
    parts = build_agent(settings, tables, reactor, build_resolver(reactor, emit, servers), emit).parts
    findings = []
    for destination in parse_nexthop(nexthop, parts.routing):
        route = await parts.router.route(destination)
        if route.problem is not None:
            findings.append(Finding("none", problem=route.problem.reason, log=_taken(log)))
        for candidate in route.candidates:
            finding = Finding(candidate.relay)
            findings.append(finding)
            await _examine_host(finding, parts, candidate, destination, route)
            finding.log = _taken(log)
        if route.is_final:
            break
    return findings


async def _examine_host(
    finding: Finding, parts: AgentParts, candidate: Candidate, destination: Destination, route: Route
) -> None:
    try:
        policy = await parts.tls.for_request().find(candidate, destination, route) if parts.tls else NO_TLS
    except TlsPolicyError as error:
        finding.problem = error.why.reason if error.why else "no policy fits"
        return
    finding.policy = _shown_policy(policy)
    factory = DestinationFactory(parts.sessions, destination.text, detect_loops=destination.loop_detection)
    try:
        session = await factory.open(candidate, is_best=True, policy=policy)
    except DialError as error:
        finding.problem = error.why.reason
        return
    try:
        rebuff = await session.greet(Occasion("NOQUEUE"))
        _note_tls(finding, session)
        finding.problem = rebuff.why.reason if rebuff else ""
        finding.would_deliver = rebuff is None
        await session.quit()
    except TlsFailedError as failed:
        finding.problem = failed.why.reason
        _note_tls(finding, session)
    except ConnectionBrokenError as broken:
        finding.problem = broken.why(session.peer).reason
        _note_tls(finding, session)


def _note_tls(finding: Finding, session: Session) -> None:
    if session.handshake is not None:
        chain = session.handshake.connection.get_peer_cert_chain(as_cryptography=True) or []
        finding.certificates = [_shown_certificate(certificate) for certificate in chain]
    if session.tls is not None:
        finding.tls = _shown_state(session.tls)


def _taken(log: list[str]) -> list[str]:
    taken = log[:]
    log.clear()
    return taken


def _shown_policy(policy: TlsPolicy) -> dict[str, Any]:
    return {
        "level": policy.level.word,
        "protocols": policy.protocols,
        "ciphers": policy.grade,
        "exclude": policy.exclusions,
        "match": list(policy.matches or policy.dane_names),
        "servername": policy.servername,
        "trust_anchors": len(policy.trust_anchors) // 2,
        "tlsa": [f"{a.usage} {a.selector} {a.matching_type} {a.data.hex().upper()}" for a in policy.associations],
    }


def _shown_state(state: TlsState) -> dict[str, Any]:
    shown = asdict(state)
    shown["level"] = state.level.word
    shown["details"] = state.details.strip()
    return shown


def _shown_certificate(certificate: x509.Certificate) -> dict[str, Any]:
    """The parts of a certificate that people ask for; what cannot be read is left empty."""
    presented, key_digest = [], ""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        presented = [str(name) for name in names.get_values_for_type(x509.DNSName)]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        pass
    try:
        key = certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key)
        key_digest = _colons(digest.finalize())
    except (ValueError, UnsupportedAlgorithm):
        pass
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": presented,
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": _colons(certificate.fingerprint(hashes.SHA256())),
        "key_sha256": key_digest,
    }


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()


def _as_json(finding: Finding) -> Iterator[str]:
    yield json.dumps(asdict(finding))


def _as_text(finding: Finding) -> Iterator[str]:
    yield printable(finding.relay)
    for word, value in _rows(finding):
        yield printable(f"    {word}: {value}")
    for line in finding.log:
        yield f"    log: {line}"


def _rows(finding: Finding) -> Iterator[tuple[str, str]]:
    for word, value in finding.policy.items():
        if isinstance(value, list):
            yield from ((f"policy {word}", str(each)) for each in value)
        elif value:
            yield f"policy {word}", str(value)
    if finding.tls is not None:
        tls = finding.tls
        yield (
            "tls",
            f"{tls['protocol']} with {tls['cipher']} ({tls['used_bits']}/{tls['cipher_bits']} bits) {tls['details']}",
        )
        yield "trusted", "yes" if tls["trusted"] else "no"
        yield "matched", "yes" if tls["matched"] else "no"
    elif finding.policy:
        yield "tls", "none"
    for depth, certificate in enumerate(finding.certificates):
        for word, value in certificate.items():
            yield f"certificate {depth} {word}", ", ".join(value) if isinstance(value, list) else value
    yield "verdict", "mail would be sent" if finding.would_deliver else f"no mail would be sent: {finding.problem}"
