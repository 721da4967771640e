"""Policies in a world of their own: settings, tables in main.cf, a zone, and what was told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.routing.fakes import FakeDNS, Zone
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.routing.candidates import Candidate, Family, local_candidate
from twisted_mta.routing.destination import Destination, parse_nexthop
from twisted_mta.routing.found import Referral
from twisted_mta.routing.router import Route
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tls.policies import TlsPolicies, TlsPolicyError
from twisted_mta.tls.policy import TlsPolicy

OWN_NAME = "client.example"


def settings_of(protocol: str = "smtp", **values: str) -> Settings:
    """Settings with some values; their names are those of `protocol`."""
    values.setdefault("myhostname", OWN_NAME)
    return load_settings(None, protocol=protocol, overrides=tuple(values.items()))


def inline_table(entries: Mapping[str, str]) -> str:
    """A table in main.cf."""
    return "inline:{" + ", ".join(f"{{{key} = {value}}}" for key, value in entries.items()) + "}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A server, and the way to it.

    Attributes:
        candidate: its address.
        destination: where to.
        route: the way.
    """

    candidate: Candidate
    destination: Destination
    route: Route


def reached(
    nexthop: str = "dest.example",
    host: str = "mx.example",
    *,
    rname: str = "",
    secure: bool = False,
    address: str = "192.0.2.1",
    referral: Referral | None = None,
    shown: str = "",
    lmtp: bool = False,
) -> Reached:
    """A server as routing gives it.

    Args:
        nexthop: the destination.
        host: the name that was looked up.
        rname: where the address was found; empty: at `host`.
        secure: whether the address was validated.
        address: its address.
        referral: the MX answer.
        shown: the name it goes by; empty: `host`.
        lmtp: whether the nexthop is one of LMTP.
    """
    destination = parse_nexthop(nexthop, RoutingSettings(lmtp=lmtp, own_name=OWN_NAME))[0]
    if destination.path:
        candidate = local_candidate(OWN_NAME, destination.path)
    else:
        candidate = Candidate(shown or host, address, destination.port, Family.IPV4, 0, host, rname or host, secure)
    return Reached(candidate, destination, Route(destination, (candidate,), referral=referral))


@dataclass
class Asking:
    """Policies of one configuration, with what was told.

    Attributes:
        dns: the name server.
        clock: the time.
        events: what was told.
        policies: the policies.
    """

    settings: Settings
    zone: Zone = field(default_factory=dict)
    secure: frozenset[tuple[str, str]] = frozenset()
    lifetime: int = 0

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        self.clock = Clock()
        self.dns = FakeDNS(self.zone, self.secure, self.lifetime)
        context = TableContext(
            expanded=self.settings.expanded,
            config_directory=Path("/"),
            queue_directory=Path(self.settings.queue_directory),
            emit=self.events.append,
            smtputf8=self.settings.smtputf8_enable,
        )
        self.policies = TlsPolicies.from_settings(
            self.settings, TableSet(context), self.dns, self.events.append, self.clock.seconds
        )
        self.request = self.policies.for_request()

    @property
    def lines(self) -> list[str]:
        """The log so far."""
        made = (line_of(event, LogStyle()) for event in self.events)
        return [f"{severity.value}: {text}" if severity.value else text for severity, text in made]

    def next_request(self) -> None:
        """What is asked from now on belongs to another request."""
        self.request = self.policies.for_request()

    def find(self, to: Reached) -> TlsPolicy | TlsPolicyError:
        """The policy for a server, or why there is none."""
        found: list[TlsPolicy | TlsPolicyError] = []
        Deferred.fromCoroutine(self._find(to)).addCallback(found.append)
        return found[0]

    async def _find(self, to: Reached) -> TlsPolicy | TlsPolicyError:
        try:
            return await self.request.find(to.candidate, to.destination, to.route)
        except TlsPolicyError as error:
            return error

    def policy(self, to: Reached | None = None) -> TlsPolicy:
        """The policy for a server; there must be one."""
        found = self.find(to or reached())
        if isinstance(found, TlsPolicyError):
            raise found
        return found

    def problem(self, to: Reached | None = None) -> str:
        """Why there is no policy for a server, as ``status reason``; empty if what was is the reason."""
        found = self.find(to or reached())
        if isinstance(found, TlsPolicy):
            raise AssertionError(f"there is one: {found}")
        return f"{found.why.status} {found.why.reason}" if found.why else ""


def asking(
    protocol: str = "smtp",
    *,
    zone: Zone | None = None,
    secure: Sequence[tuple[str, str]] = (),
    lifetime: int = 0,
    values: Mapping[str, str] | None = None,
    **more_values: str,
) -> Asking:
    """Policies by settings, and a zone as `FakeDNS` takes it."""
    settings = settings_of(protocol, **(values or {}), **more_values)
    return Asking(settings, zone or {}, frozenset(secure), lifetime)
