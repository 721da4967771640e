"""A network in memory: hosts that play scripts, and a Dialer that connects to them.

Flow: tests of twisted_mta.delivery give a MemoryDialer to the sessions, and turn its clock.
Sources: connect(2) for the error numbers.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from tests.kit.memory import MemoryTransport
from tests.kit.script import Script
from tests.kit.smtp_server import ScriptedServer
from twisted_mta.delivery.dial import Dialer, DialError, DialSettings, dial_error
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.routing.candidates import Candidate

P = TypeVar("P", bound=Protocol)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A host that does not accept connections: with this error number, or never answering."""

    number: int = errno.ECONNREFUSED


NEVER = Unreachable(0)
"""A host that never answers."""

Host = Script | Unreachable


def join(one: Protocol, other: Protocol, clock: Clock) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols; the first one hears of it first."""
    ends = MemoryTransport(one, clock), MemoryTransport(other, clock)
    for near, far in (ends, ends[::-1]):
        _connect(near, far, clock)
    one.makeConnection(ends[0])
    other.makeConnection(ends[1])
    return ends


def _connect(near: MemoryTransport, far: MemoryTransport, clock: Clock) -> None:
    """What `near` writes arrives at `far` in the next turn, if that reads."""

    def carry() -> None:
        if not near.unsent or not far.reading:
            return
        if not far.is_open:
            near.lose()
            return
        near.drain()
        far.receive(near.take_sent())

    def tell(how: str) -> None:
        if how == "aborted":
            far.lose()
        elif how != "lost":
            far.receive(near.take_sent())
            far.receive_end()

    def carry_soon() -> None:
        clock.callLater(0, carry)

    def tell_soon(how: str) -> None:
        clock.callLater(0, tell, how)

    def tell_half() -> None:
        far.receive(near.take_sent())
        far.receive_end()

    def tell_half_soon() -> None:
        clock.callLater(0, tell_half)

    near.on_write = far.on_read = carry_soon
    near.on_end = tell_soon
    near.on_half_close = tell_half_soon


class MemoryDialer(Dialer):
    """Connects to hosts by their addresses.

    Attributes:
        servers: of the hosts that play a script, by address.
        dialled: the addresses that were tried, in order, each with the local address where one was asked for.
        local_addresses: what can be bound to.
    """

    def __init__(self, clock: Clock, hosts: Mapping[str, Host], settings: DialSettings | None = None) -> None:
        super().__init__(clock, settings or DialSettings())
        self.hosts = hosts
        self.servers = {
            address: ScriptedServer(host, clock) for address, host in hosts.items() if isinstance(host, Script)
        }
        self.dialled: list[str] = []
        self.local_addresses: set[str] = set()
        self._clock = clock
        self._limit = (settings or DialSettings()).time_limit

    def dial(self, candidate: Candidate, build_protocol: Callable[[], P], bind_address: str | None) -> Deferred[P]:
        """Connect, or fail as connect(2) would."""
        self.dialled.append(f"{bind_address} to {candidate.address}" if bind_address else candidate.address)
        if bind_address and bind_address not in self.local_addresses:
            why = DsnStatus("4.4.0", "server configuration error")
            raise DialError(why, bind_problem="Cannot assign requested address")
        host = self.hosts.get(candidate.address, Unreachable())
        pending: Deferred[P] = Deferred(lambda _: call.cancel() if call.active() else None)
        if isinstance(host, Script):
            server = self.servers[candidate.address]

            def connect() -> None:
                protocol = build_protocol()
                join(protocol, server.buildProtocol(None), self._clock)
                pending.callback(protocol)

            call = self._clock.callLater(0, connect)
        else:
            delay = 0.0 if host.number else self._limit or 127.0
            problem = dial_error(candidate, host.number or errno.ETIMEDOUT)
            call = self._clock.callLater(delay, pending.errback, problem)
        return pending
