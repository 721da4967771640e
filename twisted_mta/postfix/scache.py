"""Share idle sessions with other processes of Postfix, through scache(8).

scache(8) keeps the connections themselves: a descriptor is passed to it, and to whoever asks next, be it smtp(8) or this
service. So sessions in the clear can be shared; those with TLS rest in this process, which alone has their keys.

Whatever goes wrong here, mail goes out over new connections. After a second failure, a moment after the first, scache(8) is not
asked any more.

Flow: generations.py makes a SharedCache where the command line asks for it; delivery/reuse.py uses it like any other cache.
Sources: scache(8), smtp(8); unix(7) (SCM_RIGHTS); postconf(5) connection_cache_service_name, connection_cache_protocol_timeout,
smtp_connection_cache_time_limit, ipc_idle, ipc_ttl.
"""

import os
import socket
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.delivery.cache import Lent, Place, SessionPool
from twisted_mta.delivery.cache_keys import DestinationKey, EndpointKey, KeyFields
from twisted_mta.delivery.factory import Adopt
from twisted_mta.interfaces import IConnectionCache
from twisted_mta.ipc.attributes import AttributeList, IpcError, Value, encode, expect, read_int, read_texts
from twisted_mta.ipc.client import Link, PersistentClient, ServiceError
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import ConnectionCacheDisabled, Emit, ServiceConfused
from twisted_mta.postfix.scache_properties import DestinationProperties, EndpointProperties, PropertiesError
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.session.session import Session
from twisted_mta.tls.levels import Level

SECOND_FAILURE_SECONDS = 1.0
"""A failure counts as another one only so long after the first: many deliveries may see the same one."""

_DUMMY = encode([("dummy", "")])
_STATUS = (b"status",)
_FOUND_ENDPOINT = (b"status", b"property")
_FOUND_DESTINATION = (b"status", b"property", b"property")


@implementer(IFileDescriptorReceiver)
class DescriptorLink(Link):
    """A connection over which descriptors travel, too: each with an octet of its own, outside of all lists."""

    transport: Any  # an IUNIXTransport

    def __init__(self) -> None:
        super().__init__()
        self._descriptor: int | None = None
        self._due: Deferred[int] | None = None

    def say(self, data: bytes) -> None:
        """Write a list that nothing answers but what follows."""
        self.transport.write(data)

    def pass_on(self, descriptor: int) -> None:
        """Send a descriptor; it must stay open until the service has answered."""
        self.transport.sendFileDescriptor(descriptor)
        self.transport.write(b"\0")

    def next_descriptor(self) -> Deferred[int]:
        """Wait for a descriptor, which the caller has to close; fails with IpcError."""
        due: Deferred[int] = Deferred()
        if self.failure is not None:
            due.errback(self.failure)
        else:
            self._due = due
        return due

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor has come, its octet comes next."""
        os.set_inheritable(descriptor, False)
        if self._due is None or self._descriptor is not None:
            os.close(descriptor)
            self.fail(IpcError("sent a descriptor that was not asked for"))
        else:
            self._descriptor = descriptor

    def dataReceived(self, data: bytes) -> None:
        """Take what the service sends."""
        if self._due is not None and data and self.failure is None:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                self.fail(IpcError("sent something else than a descriptor"))
                return
            due, self._due = self._due, None
            data = data[1:]
            due.callback(descriptor)
        if data:
            super().dataReceived(data)

    def close(self) -> None:
        """End the connection; nobody waits any more."""
        self._due = None
        self._forget_descriptor()
        super().close()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell who waits."""
        super().connectionLost()

    def fail(self, error: IpcError) -> None:
        """Nothing can be understood any more."""
        super().fail(error)
        self._forget_descriptor()
        due, self._due = self._due, None
        if due is not None:
            due.errback(error)

    def _forget_descriptor(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Found(NamedTuple):
    """What scache(8) has found.

    Attributes:
        connection: the connection, ours now.
        properties: of the destination, if that was looked for, and of the session.
    """

    connection: socket.socket
    properties: tuple[str, ...]


class ScacheClient:
    """Speaks with scache(8).

    Attributes:
        path: its socket, which names it in the log.
    """

    def __init__(self, client: PersistentClient, path: str) -> None:
        """Prepare.

        Args:
            client: its links are DescriptorLinks.
            path: as above.
        """
        self.path = path
        self._client = client

    async def find_endpoint(self, label: str) -> Found | None:
        """Look for a session by the name of its server's address.

        Raises:
            ServiceError: scache(8) cannot be asked.
        """
        return await self._find("find_endp", label, _FOUND_ENDPOINT)

    async def find_destination(self, label: str) -> Found | None:
        """Look for a session by the name of its destination.

        Raises:
            ServiceError: as above.
        """
        return await self._find("find_dest", label, _FOUND_DESTINATION)

    async def save_destination(self, seconds: int, label: str, properties: str, endpoint: str) -> bool:
        """Let the name of a destination lead to that of an address.

        Args:
            seconds: for how long.
            label: the name of the destination.
            properties: of the destination.
            endpoint: the name of the address.

        Returns:
            Whether scache(8) has done so.

        Raises:
            ServiceError: as above.
        """
        request: list[tuple[str, Value]] = [
            ("request", "save_dest"), ("ttl", seconds), ("label", label), ("property", properties), ("label", endpoint)
        ]  # fmt: skip
        return await self._client.ask(encode(request), _was_done)

    async def save_endpoint(self, seconds: int, label: str, properties: str, connection: socket.socket) -> bool:
        """Leave a connection.

        Args:
            seconds: for how long.
            label: the name of its server's address.
            properties: of the session.
            connection: is passed on; the caller closes its own copy.

        Returns:
            Whether scache(8) has it.

        Raises:
            ServiceError: as above.
        """
        request = encode([("request", "save_endp"), ("ttl", seconds), ("label", label), ("property", properties)])

        async def steps(link: DescriptorLink) -> AttributeList:
            expect(await link.exchange(request), (b"dummy",))
            link.pass_on(connection.fileno())
            return await link.next_list("the status")

        return await self._client.converse(steps, _was_done)

    def close(self) -> None:
        """Keep no connection with scache(8)."""
        self._client.close()

    async def _find(self, request: str, label: str, names: tuple[bytes, ...]) -> Found | None:
        question = encode([("request", request), ("label", label)])

        async def steps(link: DescriptorLink) -> Found | None:
            status, *properties = expect(await link.exchange(question), names)
            if read_int(status, "status") != 0:
                return None
            link.say(_DUMMY)
            descriptor = await link.next_descriptor()
            try:
                connection = socket.socket(fileno=descriptor)
            except OSError as error:
                os.close(descriptor)
                raise IpcError(f"sent a descriptor that is no socket: {error.strerror}") from error
            link.say(_DUMMY)
            return Found(connection, tuple(read_texts(tuple(properties))))

        return await self._client.converse(steps, lambda found: found)


def _was_done(reply: AttributeList) -> bool:
    (status,) = expect(reply, _STATUS)
    return read_int(status, "status") == 0


def key_fields(version: PostfixVersion, service: str) -> KeyFields:
    """What the names have that a service of a version of Postfix uses."""
    return KeyFields(
        service=service,
        level_of_destination=version.destination_has_level,
        requiretls=version.cached_by_requiretls,
        smtputf8=version.cached_by_smtputf8,
    )


@implementer(IConnectionCache)
class SharedCache:
    """Keeps sessions in the clear with scache(8), the others in this process.

    Attributes:
        key_fields: as the Postfix that shares has them (IConnectionCache).
    """

    def __init__(
        self,
        client: ScacheClient,
        pool: SessionPool,
        version: PostfixVersion,
        adopt: Adopt,
        clock: IReactorTime,
        emit: Emit,
        *,
        seconds: int,
        service: str,
    ) -> None:
        """Begin.

        Args:
            client: speaks with scache(8).
            pool: keeps what scache(8) cannot.
            version: of the Postfix that shares.
            adopt: makes sessions.
            clock: the time.
            emit: takes events.
            seconds: how long a session is kept.
            service: the name of the service that shares, as in master.cf.
        """
        self.key_fields = key_fields(version, service)
        self._client = client
        self._pool = pool
        self._with_port = version.destination_has_port
        self._adopt = adopt
        self._clock = clock
        self._emit = emit
        self._seconds = seconds
        self._failed_at: float | None = None
        self._disabled = False

    @property
    def accepts(self) -> bool:
        """Whether sessions are still kept (IConnectionCache)."""
        return self._pool.accepts and not self._disabled

    def lend(self, key: DestinationKey | EndpointKey) -> Lent | Deferred[Lent | None] | None:
        """Give away a session (IConnectionCache)."""
        lent = self._pool.lend(key)
        must_have_tls = isinstance(key, EndpointKey) and key.policy.level.is_required
        if lent is not None or must_have_tls or not self.accepts:
            return lent
        return Deferred.fromCoroutine(self._find(key))

    def keep(
        self, session: Session, endpoint: EndpointKey, destination: DestinationKey | None, place: Place
    ) -> Deferred[None] | None:
        """Save a session, or close it (IConnectionCache)."""
        if session.tls is not None or not self.accepts:
            self._pool.keep(session, endpoint, destination, place)
            return None
        connection = session.release()
        if connection is None:
            return None
        properties = EndpointProperties.of(
            session.welcome,
            level=endpoint.policy.level.value,
            reuse_count=session.reuse_count,
            expires=session.serves_until or 0,
        )
        return Deferred.fromCoroutine(self._save(connection, endpoint, properties, destination, place))

    def shed(self) -> bool:
        """Close the sessions that rest in this process (IConnectionCache)."""
        return self._pool.shed()

    def close(self) -> None:
        """Close them, and keep nothing from now on; what scache(8) has is left to others (IConnectionCache)."""
        self._pool.close()
        self._client.close()

    # ---- asking scache(8) ----

    async def _find(self, key: DestinationKey | EndpointKey) -> Lent | None:
        try:
            if isinstance(key, EndpointKey):
                found = await self._client.find_endpoint(key.text)
            else:
                found = await self._client.find_destination(key.text)
        except ServiceError as error:
            self._failed(error)
            return None
        self._failed_at = None
        if found is None:
            return None
        try:
            return self._lent(found, key)
        except (PropertiesError, OSError) as error:
            found.connection.close()
            self._emit(ServiceConfused(self._client.path, str(error)))
            return None

    def _lent(self, found: Found, key: DestinationKey | EndpointKey) -> Lent:
        """A session of what was found.

        Raises:
            PropertiesError, OSError: there is none in it.
        """
        properties = EndpointProperties.parse(found.properties[-1])
        if properties.level > Level.MAY:
            raise PropertiesError(f"a session in the clear is none of TLS level {properties.level}")
        place = None
        if isinstance(key, DestinationKey):
            place = _place(
                DestinationProperties.parse(found.properties[0], with_port=self._with_port), found.connection
            )
        session = self._adopt(found.connection)
        session.resume(properties.welcome, properties.reuse_count, float(properties.expires))
        endpoint = key if isinstance(key, EndpointKey) else None
        return Lent(session, endpoint, place, Level(properties.level))

    async def _save(
        self,
        connection: socket.socket,
        endpoint: EndpointKey,
        properties: EndpointProperties,
        destination: DestinationKey | None,
        place: Place,
    ) -> None:
        candidate = place.candidate
        try:
            if destination is not None:
                where = DestinationProperties(
                    place.site, candidate.host, candidate.address, candidate.port, place.is_best
                )
                text = where.text(with_port=self._with_port)
                await self._client.save_destination(self._seconds, destination.text, text, endpoint.text)
            await self._client.save_endpoint(self._seconds, endpoint.text, properties.text, connection)
        except ServiceError as error:
            self._failed(error)
        else:
            self._failed_at = None
        finally:
            # Where it was passed on, another process holds it.
            connection.close()

    def _failed(self, error: ServiceError) -> None:
        """Tell of a failure; the second one is the last."""
        if self._disabled:
            return
        self._emit(error.event)
        now = self._clock.seconds()
        if self._failed_at is None:
            self._failed_at = now
        elif now - self._failed_at >= SECOND_FAILURE_SECONDS:
            self._disabled = True
            self._emit(ConnectionCacheDisabled())


def _place(where: DestinationProperties, connection: socket.socket) -> Place:
    """Where a connection leads; older versions do not write the port down, but it is that of the connection.

    Raises:
        OSError: the connection is gone.
    """
    if connection.family == socket.AF_UNIX:
        candidate = Candidate(where.host, where.address, 0, Family.LOCAL)
    else:
        family = Family.IPV6 if connection.family == socket.AF_INET6 else Family.IPV4
        candidate = Candidate(where.host, where.address, where.port or connection.getpeername()[1], family)
    return Place(where.site, candidate, where.is_best)
