"""The stub resolver: asks the name servers of resolv.conf.

Flow: routing/ and tls/ call `lookup`, mostly through dns/cache.py; dns/resolution.py decides what to do, dns/transport.py
does it.
Sources: resolv.conf(5); postconf(5) smtp_dns_resolver_options.
"""

import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.dns.resolution import Ask, Question, Resolution
from twisted_mta.dns.resolv_conf import ResolvConf, Server, is_server_address
from twisted_mta.dns.transport import NetworkReactor, SocketTransport
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import Answer, RecordType, Search
from twisted_mta.model.events import Emit


def random_id() -> int:
    """A query id that nobody can guess (RFC 5452 section 4.3)."""
    return secrets.randbits(16)


@implementer(IDNSClient)
class StubResolver:
    """Asks name servers; equal questions that come while one is under way share its answer.

    Args:
        reactor: the network and the time limits.
        resolv_conf: gives the present configuration, e.g. `ResolvConfFile.current`.
        emit: is told what is wrong with replies.
        exchange: carries out an Ask; by default with sockets of `reactor`.
        make_id: makes query ids.
    """

    def __init__(
        self,
        reactor: NetworkReactor,
        resolv_conf: Callable[[], ResolvConf],
        emit: Emit,
        *,
        exchange: Callable[[Ask], Deferred[bytes | None]] | None = None,
        make_id: Callable[[], int] = random_id,
    ) -> None:
        self._resolv_conf = resolv_conf
        self._emit = emit
        self._exchange = exchange or SocketTransport(reactor).exchange
        self._make_id = make_id
        self._lookups = 0
        self._under_way: dict[Question, _SharedLookup] = {}

    @classmethod
    def for_servers(
        cls,
        reactor: NetworkReactor,
        servers: Iterable[tuple[str, int]],
        emit: Emit,
    ) -> "StubResolver":
        """A resolver that asks these servers (address, port) instead of those of resolv.conf.

        Raises:
            ValueError: there is none, or one is not an address with a port.
        """
        conf = ResolvConf(servers=tuple(Server(address, port) for address, port in servers))
        if not conf.servers:
            raise ValueError("no name server is given")
        for address, port in conf.servers:
            if not is_server_address(address) or not 0 < port < 65536:
                raise ValueError(f"no address and port of a name server: {address} {port}")
        return cls(reactor, lambda: conf, emit)

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """See IDNSClient."""
        question = Question(name, rdtype, dnssec, search)
        shared = self._under_way.get(question)
        if shared is None:
            resolving = Deferred.fromCoroutine(self._resolve(question))
            if resolving.called:
                return resolving
            shared = self._under_way[question] = _SharedLookup(resolving, partial(self._forget, question))
        return shared.join()

    def _forget(self, question: Question) -> None:
        del self._under_way[question]

    async def _resolve(self, question: Question) -> Answer:
        conf = self._resolv_conf()
        first = 0
        if conf.rotate:
            self._lookups += 1
            first = self._lookups % len(conf.servers)
        steps = Resolution(conf, first, self._make_id, self._emit).resolve(question)
        try:
            ask = next(steps)
            while True:
                ask = steps.send(await self._exchange(ask))
        except StopIteration as stop:
            return cast(Answer, stop.value)


class _SharedLookup:
    """A lookup under way and all who wait for it; given up when the last of them has lost interest."""

    __slots__ = ("_forget", "_resolving", "_waiting")

    def __init__(self, resolving: Deferred[Answer], forget: Callable[[], None]) -> None:
        self._waiting: list[Deferred[Answer]] = []
        self._forget = forget
        self._resolving = resolving
        resolving.addBoth(self._tell)

    def join(self) -> Deferred[Answer]:
        """Wait for the answer too."""
        waiting: Deferred[Answer] = Deferred(self._leave)
        self._waiting.append(waiting)
        return waiting

    def _leave(self, waiting: Deferred[Answer]) -> None:
        self._waiting.remove(waiting)
        if not self._waiting:
            self._resolving.cancel()

    def _tell(self, outcome: Answer | Failure) -> None:
        # Forgotten first: who is told may ask the same again.
        self._forget()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(outcome)
