"""Who overhears the sessions of a delivery: a transcript that may go to the postmaster, and the log, for peers that are watched.

Most configurations want neither; then there are no Witnesses, and a delivery does not even ask.

Flow: delivery/site.py and kept_sessions.py ask for an Ear before each session, delivery/offering.py says when it is over.
Sources: postconf(5) notify_classes, debug_peer_list, debug_peer_level; smtp(8).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Emit
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.routing.candidates import Candidate
from twisted_mta.session.overhearing import DetailedLog, Ear, Listener
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import ErrorClass

_NO_ADDRESS = "noaddr"  # Postfix's word for the address of a destination, which has none

Watched = Callable[[str, str], bool | Deferred[bool]]
"""Whether a name, or its address, is in debug_peer_list; raises TableError, which has been told."""


class Notices(Protocol):
    """Tells the postmaster of errors."""

    def wanted(self, sender: str) -> ErrorClass:
        """The errors that are worth a notice where the mail is from this sender."""

    async def send(self, relay: str, transcript: Transcript) -> None:
        """Send a notice about a session; never fails, and takes no longer than some time."""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who may want to overhear sessions, by one configuration.

    Attributes:
        notices: None: no notices are wanted.
        watched: None: nobody is watched.
        reply_limit: characters of a reply after which its further lines are dropped.
        utf8: smtputf8_enable.
        emit: takes events.
    """

    notices: Notices | None
    watched: Watched | None
    reply_limit: int
    utf8: bool
    emit: Emit

    def to(self, request: DeliveryRequest) -> "Witness":
        """A witness to one delivery."""
        return Witness(self, request)


class Witness:
    """A witness to the sessions of one delivery."""

    __slots__ = ("_nexthop", "_nexthop_watched", "_transcript", "_wanted", "_witnesses")

    def __init__(self, witnesses: Witnesses, request: DeliveryRequest) -> None:
        self._witnesses = witnesses
        self._nexthop = request.nexthop
        self._nexthop_watched: bool | None = None if witnesses.watched else False
        notices = witnesses.notices
        self._wanted = notices.wanted(request.sender) if notices else ErrorClass.NONE
        self._transcript = Transcript()

    async def ear_for(self, candidate: Candidate) -> Ear | None:
        """What is to listen to the session with a candidate; None: nobody cares."""
        listeners: list[Listener] = []
        witnesses = self._witnesses
        if self._wanted:
            self._transcript = Transcript()
            listeners.append(self._transcript)
        if await self._is_watched(candidate):
            listeners.append(DetailedLog(candidate.relay, witnesses.emit))
        return Ear(listeners, witnesses.reply_limit, utf8=witnesses.utf8) if listeners else None

    async def session_over(self, relay: str, troubles: ErrorClass) -> None:
        """The session has ended, after these errors: tell the postmaster, if that is wanted."""
        if self._wanted & troubles and self._witnesses.notices is not None:
            await self._witnesses.notices.send(relay, self._transcript)

    async def _is_watched(self, candidate: Candidate) -> bool:
        """Whether the destination is in debug_peer_list, or this host."""
        if self._witnesses.watched is None:
            return False
        if self._nexthop_watched is None:
            self._nexthop_watched = await self._in_list(self._nexthop, _NO_ADDRESS)
        return self._nexthop_watched or await self._in_list(candidate.host, candidate.address)

    async def _in_list(self, name: str, address: str) -> bool:
        watched = self._witnesses.watched
        assert watched is not None
        try:
            found = watched(name, address)
            return await found if isinstance(found, Deferred) else found
        except TableError:
            return False
