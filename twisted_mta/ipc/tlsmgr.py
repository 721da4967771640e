"""The cache of TLS sessions that tlsmgr(8) keeps for all processes.

It is only ever a help: a handshake waits for it for a moment at most, and goes on without it. After a failure it is left alone
for a while, and then asked one question at a time until it answers again, so that no more than one handshake waits in vain. A
failure is told once. Where there is no such service, or it has no cache, nothing is told.

Flow: tls/session_cache.py looks up what it has not in memory, and writes what it keeps there.
Sources: tlsmgr(8); postconf(5) tlsmgr_service_name, smtp_tls_session_cache_database; a running tlsmgr(8).
"""

import errno
import os
from collections import OrderedDict

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mta.ipc.attributes import (
    AttributeList,
    IpcError,
    Value,
    encode,
    encode_data,
    expect_among,
    read_data,
    read_int,
)
from twisted_mta.ipc.client import PersistentClient, Read, ServiceError
from twisted_mta.model.events import Emit

LONGEST_WAIT_SECONDS = 2.0
"""How long a question may take: a server waits meanwhile."""

REST_SECONDS = 30.0
"""For how long it is not asked after a failure."""

REST_WITHOUT_CACHE_SECONDS = 300.0
"""For how long it is not asked where it is not there, or keeps no sessions."""

MOST_WAITING = 500
"""So many changes wait for it, the last one of each key; then the oldest is given up."""

MOST_OCTETS = 1 << 20
"""So large they are together."""

_FOUND, _NOT_FOUND, _FAILED = 0, -1, -2
_STATUS = (b"status",)
_SESSION = (b"status", b"session")
_NOT_THERE = os.strerror(errno.ENOENT)

_log = Logger()


class TlsManager:
    """A client of tlsmgr(8), for one of its caches."""

    def __init__(self, client: PersistentClient, cache: str, clock: IReactorTime, emit: Emit) -> None:
        """Prepare; nothing is asked yet.

        Args:
            client: asks it, over a connection that is kept, and waits no longer than LONGEST_WAIT_SECONDS.
            cache: ``smtp`` or ``lmtp``.
            clock: the time.
            emit: takes events.
        """
        self._client = client
        self._cache = cache
        self._clock = clock
        self._emit = emit
        self._waiting: OrderedDict[str, bytes | None] = OrderedDict()  # None: to be deleted
        self._octets = 0
        self._is_sending = False
        self._questions = 0  # under way
        self._in_doubt = False
        self._is_told = False
        self._rests_since = 0.0
        self._rest_seconds = 0.0

    async def lookup(self, key: str) -> bytes | None:
        """Ask for a value; it never fails.

        Args:
            key: in ASCII, not longer than 510 octets.

        Returns:
            The value; None: there is none, or nobody can say.
        """
        if key in self._waiting:
            return self._waiting[key]
        answer = await self._ask("lookup", key, (), _read_session)
        self._send()
        return answer[1] if answer is not None and answer[0] == _FOUND else None

    def update(self, key: str, value: bytes) -> None:
        """Have a value kept; that happens later, or not at all.

        Args:
            key: as above.
            value: of any size that the tables of tlsmgr(8) can take.
        """
        if not self._rests:
            self._put(key, value)
            self._send()

    def delete(self, key: str) -> None:
        """Have a value kept no longer; it is not found from now on."""
        # Also while it rests: what is not to be used must not come back.
        self._put(key, None)
        self._send()

    def close(self) -> None:
        """Keep no connection from now on."""
        self._client.close()

    @property
    def _may_ask(self) -> bool:
        return not (self._rests or (self._in_doubt and self._questions))

    @property
    def _rests(self) -> bool:
        # The clock may jump.
        return 0 <= self._clock.seconds() - self._rests_since < self._rest_seconds

    def _put(self, key: str, value: bytes | None) -> None:
        self._take(key)
        self._waiting[key] = value
        self._octets += len(value or b"")
        while len(self._waiting) > MOST_WAITING or self._octets > MOST_OCTETS:
            self._take(next(iter(self._waiting)))

    def _take(self, key: str) -> bytes | None:
        value = self._waiting.pop(key, None)
        self._octets -= len(value or b"")
        return value

    def _send(self) -> None:
        """Begin to send what waits, unless that is going on."""
        if self._waiting and not self._is_sending and self._may_ask:
            self._is_sending = True
            Deferred.fromCoroutine(self._send_all()).addErrback(_unforeseen)

    async def _send_all(self) -> None:
        try:
            while self._waiting and self._may_ask:
                key = next(iter(self._waiting))
                value = self._take(key)
                if value is not None:
                    # It is not tried again: the service may have died of it.
                    await self._ask("update", key, (("session", encode_data(value)),), _read_status)
                elif await self._ask("delete", key, (), _read_status) is None and key not in self._waiting:
                    self._put(key, None)
        finally:
            self._is_sending = False

    async def _ask(
        self, request: str, key: str, more: tuple[tuple[str, Value], ...], read: Read[tuple[int, bytes]]
    ) -> tuple[int, bytes] | None:
        """Ask, if that is sensible now; None: there is no answer."""
        if not self._may_ask:
            return None
        question = encode((("request", request), ("cache_type", self._cache), ("cache_id", key), *more))
        self._questions += 1
        try:
            answer = await self._client.ask(question, read)
        except ServiceError as error:
            self._failed(error)
            return None
        finally:
            self._questions -= 1
        self._in_doubt = self._is_told = False
        if answer[0] == _FAILED:
            self._rest(REST_WITHOUT_CACHE_SECONDS)
            self._forget(deletions=True)
        return answer

    def _failed(self, error: ServiceError) -> None:
        self._in_doubt = True
        if error.problem == _NOT_THERE:
            self._rest(REST_WITHOUT_CACHE_SECONDS)
            self._forget(deletions=True)
            return
        self._rest(REST_SECONDS)
        self._forget(deletions=False)
        if not self._is_told:
            self._is_told = True
            self._emit(error.event)

    def _rest(self, seconds: float) -> None:
        self._rests_since = self._clock.seconds()
        self._rest_seconds = seconds

    def _forget(self, *, deletions: bool) -> None:
        """Forget the changes that wait; others will come."""
        for key in [key for key, value in self._waiting.items() if deletions or value is not None]:
            self._take(key)


def _read_status(reply: AttributeList) -> tuple[int, bytes]:
    (status,) = expect_among(reply, _STATUS)
    return _number(status), b""


def _read_session(reply: AttributeList) -> tuple[int, bytes]:
    status, session = expect_among(reply, _SESSION)
    return _number(status), read_data(session, "session")


def _number(status: bytes) -> int:
    number = read_int(status, "status")
    if number not in (_FOUND, _NOT_FOUND, _FAILED):
        raise IpcError(f"attribute status: {number} means nothing")
    return number


def _unforeseen(failure: Failure) -> None:
    _log.failure("sending TLS sessions to tlsmgr(8)", failure)
