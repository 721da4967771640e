"""Who is at the other end, in the forms that texts need.

Flow: delivery/ makes one per session from a Candidate; smtp/ puts it into reasons and events.
Sources: the relay= and host[address] forms of Postfix's log.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A server.

    Attributes:
        host: its name.
        address: its address, or the path of its socket.
        namaddr: ``host[address]``.
        relay: ``host[address]:port``, without port for a local socket.
        nexthop: the destination of the request, for texts about loops.
        is_best: whether it has the best preference of its destination.
        detect_loops: whether finding our own name means a mail loop.
    """

    host: str
    address: str
    namaddr: str
    relay: str
    nexthop: str
    is_best: bool = True
    detect_loops: bool = False
