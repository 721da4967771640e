"""Drive resolutions without a network: scripted resolvers behind addresses.

Flow: tests of resolution, client and cache make a Network, resolve through it, and look at what was asked.
"""

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed

from tests.kit.dns_server import ScriptedResolver
from twisted_mta.dns.resolution import Ask, Question, Resolution
from twisted_mta.dns.resolv_conf import ResolvConf, Server
from twisted_mta.dns.wire import answers
from twisted_mta.model.answers import Answer, RecordType
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of

Zone = Mapping[str, Mapping[str, Any]]


def numbered_server(number: int) -> Server:
    """The server with this number."""
    return Server(f"192.0.2.{number}")


class Network:
    """Name servers in memory.

    Args:
        zones: the first is that of server 1, and so on; None: a server that cannot be reached.
        follows_aliases: as for ScriptedResolver.

    Attributes:
        asks: what was to be done, in order.
        events: what was said.
    """

    def __init__(self, *zones: Zone | None, follows_aliases: bool = True) -> None:
        self.servers = tuple(numbered_server(number) for number in range(1, len(zones) + 1))
        self._resolvers = {
            server: None if zone is None else ScriptedResolver(zone, follows_aliases)
            for server, zone in zip(self.servers, zones, strict=True)
        }
        self.asks: list[Ask] = []
        self.events: list[Event] = []

    @property
    def log(self) -> list[str]:
        """The events as lines."""
        return [": ".join(filter(None, [severity.value, text])) for severity, text in map(_line, self.events)]

    @property
    def queries(self) -> list[tuple[str, str]]:
        """Types and names that any server was asked, in order of the servers."""
        resolvers = [resolver for resolver in self._resolvers.values() if resolver is not None]
        return [(query.rdtype, query.name) for resolver in resolvers for query in resolver.queries]

    @property
    def path(self) -> list[tuple[int, str, float]]:
        """Which server was asked how, and with what time limit."""
        return [(self.servers.index(ask.server) + 1, "tcp" if ask.by_tcp else "udp", ask.seconds) for ask in self.asks]

    def reply_to(self, ask: Ask) -> bytes | None:
        """What the server says that answers the query, or None."""
        self.asks.append(ask)
        resolver = self._resolvers[ask.server]
        if resolver is None:
            return None
        for message in resolver.respond(ask.query, ask.by_tcp) or ():
            if answers(message, ask.query):
                return message
        return None

    def exchange(self, ask: Ask) -> Deferred[bytes | None]:
        """As SocketTransport.exchange, but at once."""
        return succeed(self.reply_to(ask))

    def conf(self, **options: Any) -> ResolvConf:
        """A configuration that names all servers."""
        return ResolvConf(servers=self.servers, **options)

    def resolve(
        self, name: str, rdtype: RecordType, conf: ResolvConf | None = None, first: int = 0, **options: Any
    ) -> Answer:
        """Resolve one question."""
        ids = iter(range(1000))
        resolution = Resolution(conf or self.conf(), first, lambda: next(ids), self.events.append)
        steps = resolution.resolve(Question(name, rdtype, **options))
        reply = None
        try:
            ask = next(steps)
            while True:
                reply = self.reply_to(ask)
                ask = steps.send(reply)
        except StopIteration as stop:
            answer = stop.value
            assert isinstance(answer, Answer)
            return answer


def _line(event: Event) -> tuple[Any, str]:
    return line_of(event, LogStyle())
