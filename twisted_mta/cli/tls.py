"""``smtpdeliver tls``: connect to the hosts of a destination, and tell what TLS with them is worth, as posttls-finger(1) does.

No mail is sent, and nobody logs in. The hosts are found, the policy is looked up, and the handshake is judged by the same code
that delivers mail; what this shows is what a delivery would meet.

Flow: `run` asks each host in turn, `Finding` holds what was seen, and is shown as text or JSON.
Sources: posttls-finger(1); postconf(5) smtp_tls_security_level; sysexits.h for the exit status.
"""

import argparse
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.task import deferLater

from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.cli.certificate_report import report
from twisted_mta.cli.console import USUAL_DIRECTORY, complain, find_config_directory, show
from twisted_mta.cli.name_servers import name_server
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.cli.tls_report import Dialog, Finding, as_json, as_text, pem, shown_policy, shown_state
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.delivery.dial import DialError
from twisted_mta.delivery.errand import AgentParts
from twisted_mta.delivery.factory import DestinationFactory
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.installed import postfix_version
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.routing.candidates import Candidate
from twisted_mta.routing.destination import Destination, parse_nexthop
from twisted_mta.routing.router import Route
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.session import Session, TlsFailedError
from twisted_mta.smtp.actions import ConnectionBrokenError
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.tls.digests import SHA256, Digest, digest_named
from twisted_mta.tls.library import chain_of
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import start_again_if_needed
from twisted_mta.tls.policies import TlsPolicyError
from twisted_mta.tls.policy import NO_TLS

QUIETLY = (("smtp_sasl_auth_enable", "no"), ("notify_classes", ""), ("smtp_connection_cache_on_demand", "no"))
"""What delivers mail, and would only disturb here."""

_LONGEST_PAUSE = 86400

_MATCHING = ("verify", "secure", "fingerprint")

TALKATIVE = "summary, untrusted, peercert, certmatch, dane"
"""The classes of smtp_tls_loglevel that are shown, unless the command line sets the parameter."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How hosts are asked.

    Attributes:
        servers: name servers; empty: those of resolv.conf.
        reconnect_seconds: connect once more after that time, to see whether the session of TLS is taken up; None: do not.
        with_pem: whether certificates are shown in PEM.
    """

    servers: tuple[tuple[str, int], ...] = ()
    reconnect_seconds: float | None = None
    with_pem: bool = False


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
    own.add_argument(
        "--reconnect", type=float, metavar="SECONDS", help="connect again after that time: is the TLS session taken up?"
    )
    own.add_argument("--pem", action="store_true", help="show the certificates in PEM, too")
    own.add_argument("--dialog", action="store_true", help="show what was said (JSON always has it)")
    own.add_argument("--json", action="store_true", help="one JSON object a host")
    own.add_argument("destination", metavar="DESTINATION", help="as a next hop is written: example.com, [host]:587")
    own.add_argument(
        "match",
        nargs="*",
        metavar="MATCH",
        help="at levels verify and secure: names that the certificate may have, in place of those of the configuration; "
        "at level fingerprint: fingerprints",
    )
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
        if arguments.match:
            overrides += [(f"{prefix}_tls_{what}_cert_match", " ".join(arguments.match)) for what in _MATCHING]
        if arguments.reconnect is not None:
            overrides.append((f"{prefix}_tls_session_cache_database", "internal:"))
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
        servers = tuple(name_server(text) for text in arguments.nameserver)
    except ValueError as error:
        complain(f"--nameserver: {error}")
        return os.EX_USAGE

    if arguments.reconnect is not None and not 0 <= arguments.reconnect <= _LONGEST_PAUSE:
        complain(f"--reconnect: between 0 and {_LONGEST_PAUSE} seconds")
        return os.EX_USAGE
    wishes = Wishes(servers, arguments.reconnect, arguments.pem)

    async def job(reactor: Any) -> int:
        try:
            findings = await examine(reactor, settings, arguments.destination, wishes)
        except ConfigError as error:
            complain(str(error))
            return os.EX_CONFIG
        shown = as_json if arguments.json else partial(as_text, with_dialog=arguments.dialog)
        show(line for finding in findings for line in shown(finding))
        return os.EX_OK if any(finding.would_deliver for finding in findings) else os.EX_UNAVAILABLE

    return run_in_reactor(job)


async def examine(reactor: Any, settings: Settings, nexthop: str, wishes: Wishes) -> list[Finding]:
    """Ask all hosts of a destination, in the order in which a delivery would.

    Args:
        reactor: makes connections.
        settings: of the protocol.
        nexthop: the destination.
        wishes: how.

    Raises:
        ConfigError: a setting cannot be used.
    """
    log: list[str] = []

    def emit(event: Event) -> None:
        severity, text = line_of(event, LogStyle())
        log.append(f"{severity.value}: {text}" if severity.value else text)

    tables = open_tables(settings, reactor, emit, version=partial(postfix_version, settings))
    parts = build_agent(settings, tables, reactor, build_resolver(reactor, emit, list(wishes.servers)), emit).parts
    digest = digest_named(settings.smtp_tls_fingerprint_digest) or SHA256
    findings = []
    for destination in parse_nexthop(nexthop, parts.routing):
        route = await parts.router.route(destination)
        if route.problem is not None:
            findings.append(Finding("none", problem=route.problem.reason, log=_taken(log)))
        for candidate in route.candidates:
            finding = Finding(candidate.relay)
            findings.append(finding)
            asking = _Asking(finding, parts, candidate, destination, digest, with_pem=wishes.with_pem)
            try:
                await asking.ask(route)
                if wishes.reconnect_seconds is not None and finding.tls is not None:
                    await deferLater(reactor, wishes.reconnect_seconds)
                    finding.resumed = await asking.is_resumed()
            except TableError as error:
                finding.problem = f"a table cannot be used: {error}"
            finding.log = _taken(log)
        if route.is_final:
            break
    return findings


class _Asking:
    """Asks one host."""

    def __init__(
        self,
        finding: Finding,
        parts: AgentParts,
        candidate: Candidate,
        destination: Destination,
        digest: Digest,
        *,
        with_pem: bool,
    ) -> None:
        self._finding = finding
        self._parts = parts
        self._candidate = candidate
        self._destination = destination
        self._digest = digest
        self._with_pem = with_pem
        self._policy = NO_TLS

    async def ask(self, route: Route) -> None:
        """Find the policy, connect, and note what there is to be seen."""
        finding, tls = self._finding, self._parts.tls
        try:
            if tls is not None:
                self._policy = await tls.for_request().find(self._candidate, self._destination, route)
        except TlsPolicyError as error:
            finding.problem = error.why.reason if error.why else "no policy fits"
            return
        finding.policy = shown_policy(self._policy)
        try:
            session = await self._connect(finding.dialog)
        except DialError as error:
            finding.problem = error.why.reason
            return
        try:
            rebuff = await session.greet(Occasion("NOQUEUE"))
            finding.problem = rebuff.why.reason if rebuff else ""
            finding.would_deliver = rebuff is None
            self._note_tls(session)
            await session.quit()
        except TlsFailedError as failed:
            finding.problem = failed.why.reason
            self._note_tls(session)
        except ConnectionBrokenError as broken:
            finding.problem = broken.why(session.peer).reason
            self._note_tls(session)

    async def is_resumed(self) -> bool:
        """Connect again; whether the session of TLS was taken up."""
        try:
            session = await self._connect([])
            await session.greet(Occasion("NOQUEUE"))
            await session.quit()
        except (DialError, TlsFailedError, ConnectionBrokenError):
            return False
        return session.tls is not None and session.tls.resumed

    async def _connect(self, dialog: list[str]) -> Session:
        sessions = self._parts.sessions
        factory = DestinationFactory(sessions, self._destination.text, detect_loops=self._destination.loop_detection)
        ear = Ear([Dialog(dialog)], sessions.dialog.line_length_limit)
        return await factory.open(self._candidate, is_best=True, ear=ear, policy=self._policy)

    def _note_tls(self, session: Session) -> None:
        finding = self._finding
        if session.handshake is not None:
            for der in chain_of(session.handshake.connection):
                told = report(der, self._digest)
                if self._with_pem:
                    told["pem"] = pem(der)
                finding.certificates.append(told)
        if session.tls is not None:
            finding.tls = shown_state(session.tls)


def _taken(log: list[str]) -> list[str]:
    taken = log[:]
    log.clear()
    return taken
