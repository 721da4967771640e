"""Remember answers for as long as they hold.

Flow: stands between those who ask (routing/, tls/) and dns/client.py.
Only OK answers are kept, and the certain absence of a name, a record or a service; never one with a lifetime of 0, and nothing
that may be otherwise in a moment. Each is kept with its security status, under the way in which it was asked for.
Sources: RFC 1035 section 7.4; RFC 2181 section 8; RFC 2308 sections 5 and 7.
"""

from collections import OrderedDict
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import Answer, LookupResult, RecordType, Search

LONGEST_KEPT = 3600
"""Seconds for which an answer is kept, at most."""

MOST_ENTRIES = 10000

_KEPT = (LookupResult.OK, LookupResult.NOT_FOUND, LookupResult.NULL_MX, LookupResult.NULL_SRV)

_Key = tuple[str, RecordType, bool, Search]


@implementer(IDNSClient)
class CachingClient:
    """A DNS client that asks another one only for what it does not know.

    Args:
        client: whom to ask.
        clock: the time.
        max_entries: how many answers to keep; the one that was not used for longest makes room.
    """

    def __init__(self, client: IDNSClient, clock: IReactorTime, max_entries: int = MOST_ENTRIES) -> None:
        self._client = client
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[_Key, tuple[float, Answer]] = OrderedDict()

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """See IDNSClient."""
        key = (name.lower(), rdtype, dnssec, search)
        known = self._find(key, name)
        if known is not None:
            return succeed(known)
        asked = self._client.lookup(name, rdtype, dnssec=dnssec, search=search)
        return asked.addCallback(self._keep, key)

    def clear(self) -> None:
        """Forget all answers."""
        self._entries.clear()

    def _find(self, key: _Key, name: str) -> Answer | None:
        """The answer that is known, under the name as it is spelled now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        kept_until, answer = entry
        remaining = kept_until - self._clock.seconds()
        # More than it can be: the clock was set back.
        if not 0 < remaining <= LONGEST_KEPT:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        if answer.name == name:
            return answer
        # The reason of a failure has the other spelling in it.
        return replace(answer, name=name) if answer.result is LookupResult.OK else None

    def _keep(self, answer: Answer, key: _Key) -> Answer:
        if answer.lifetime > 0 and answer.result in _KEPT and self._max_entries > 0:
            self._entries[key] = self._clock.seconds() + min(answer.lifetime, LONGEST_KEPT), answer
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        return answer
