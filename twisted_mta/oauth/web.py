"""Posting forms to token servers: over HTTPS, within bounds, and never anywhere but where the account file says.

Flow: grants.py posts a TokenRequest with `WebClient.post`; twisted.web.client.Agent speaks HTTP.
Sources: RFC 9110; RFC 6749 section 3.2 (TLS is required); twisted.web.client, twisted.protocols.policies, OpenSSL.SSL.

A new connection for each request: there is one an hour, and no token server needs to know more of us. Redirects are not followed.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as TooLateError
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from twisted_mta import __version__
from twisted_mta.sasl.oauth import LARGEST_REPLY, GrantError, HttpReply, Remedy, TokenRequest

TIME_LIMIT_SECONDS = 30.0
"""From the look-up of the name to the end of the reply. Deliveries wait meanwhile."""

LARGEST_ANSWER = LARGEST_REPLY + 32768
"""Octets that are taken from a connection, headers included."""

LARGEST_CA_FILE = 4 << 20

_HEADERS = {
    "Content-Type": ["application/x-www-form-urlencoded"],
    "Accept": ["application/json"],
    "User-Agent": [f"twisted_mta/{__version__}"],
}


class WebClient:
    """Posts forms."""

    def __init__(self, reactor: Any, time_limit_seconds: float = TIME_LIMIT_SECONDS) -> None:
        """Prepare.

        Args:
            reactor: connects.
            time_limit_seconds: for each request.
        """
        self._reactor = reactor
        self._limit = time_limit_seconds

    async def post(self, request: TokenRequest, ca_file: str = "") -> HttpReply:
        """Post a form, and wait for the reply.

        Args:
            request: where to, and what.
            ca_file: the authorities that vouch for the server, in PEM; empty: those of the system.

        Raises:
            GrantError: there is no reply, whatever the reason.
        """
        way = _Way(self._reactor, _trust(ca_file))
        exchange = Deferred.fromCoroutine(self._exchange(request, way))
        exchange.addTimeout(self._limit, self._reactor, _too_late)
        try:
            return await exchange
        except TooLateError as error:
            raise _no_reply(way, f"it takes longer than {self._limit:g} seconds") from error
        except Exception as error:
            if any(isinstance(cause, CancelledError) for cause in _causes(error)):
                raise CancelledError from error
            # Whatever a server can do to the connection is named; a defect of ours goes its way.
            if way.is_flooded:
                raise _no_reply(way, f"it is longer than {LARGEST_ANSWER} bytes") from error
            if problem := _problem(error):
                raise _no_reply(way, problem) from error
            raise
        finally:
            way.close()

    async def _exchange(self, request: TokenRequest, way: "_Way") -> HttpReply:
        headers = Headers(_HEADERS)
        if request.authorization:
            headers.setRawHeaders("Authorization", [request.authorization])
        agent = Agent.usingEndpointFactory(self._reactor, way)
        response = await agent.request(b"POST", request.url.encode(), headers, _Form(request.form))
        collector = _Collector()
        response.deliverBody(collector)
        body = await collector.whole
        return HttpReply(
            response.code, body[:LARGEST_REPLY], _header(response, "Retry-After"), _header(response, "Location")
        )


@implementer(IBodyProducer)
class _Form:
    """A form that is handed over in one piece."""

    def __init__(self, form: bytes) -> None:
        self._form = form
        self.length = len(form)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._form)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is no more."""

    def resumeProducing(self) -> None:
        """There is no more."""

    def stopProducing(self) -> None:
        """There is no more."""


class _Collector(Protocol):
    """Collects the content of a reply; its length is bounded by what the connection takes."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        # PotentialDataLoss: a reply without a length ends with the connection, as HTTP/1.0 has it. Half an object is no JSON.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)


def _header(response: IResponse, name: str) -> str:
    values = response.headers.getRawHeaders(name) or [""]
    return str(values[0])


# ---- the connection ----


class _Bounded(ProtocolWrapper):
    """Takes no more octets than a sane reply has."""

    factory: "_BoundedFactory"

    def dataReceived(self, data: bytes) -> None:
        way = self.factory.way
        way.octets += len(data)
        if way.is_flooded:
            way.close()
        else:
            super().dataReceived(data)


class _BoundedFactory(WrappingFactory):
    """Puts the bound around the client of HTTP."""

    noisy = False
    protocol = _Bounded

    def __init__(self, wrapped: Any, way: "_Way") -> None:
        super().__init__(wrapped)
        self.way = way
        # One connection an hour is nothing to tell.
        wrapped.noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.way.connection = super().buildProtocol(addr)
        return self.way.connection


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """An endpoint whose connections are bounded."""

    def __init__(self, endpoint: Any, way: "_Way") -> None:
        self._endpoint = endpoint
        self._way = way

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        connecting: Deferred[Any] = self._endpoint.connect(_BoundedFactory(protocolFactory, self._way))
        return connecting.addCallback(lambda bounded: bounded.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _Way:
    """How one request gets to its server.

    Attributes:
        server: the server's name, for people.
        octets: how many have come.
        connection: the one there is; None: none yet.
    """

    def __init__(self, reactor: Any, trust: Any) -> None:
        self.server = ""
        self.octets = 0
        self.connection: Any = None
        self._reactor = reactor
        self._trust = trust

    @property
    def is_flooded(self) -> bool:
        """Whether more has come than is taken."""
        return self.octets > LARGEST_ANSWER

    def endpointForURI(self, uri: URI) -> _BoundedEndpoint:
        """Where to connect to, and how."""
        self.server = host = uri.host.decode()
        endpoint = self._plain(host, uri.port)
        if uri.scheme == b"https":
            creator = optionsForClientTLS(host, trustRoot=self._trust)
            endpoint = wrapClientTLS(creator, endpoint, clock=self._reactor)
        return _BoundedEndpoint(endpoint, self)

    def _plain(self, host: str, port: int) -> Any:
        try:
            version = ip_address(host).version
        except ValueError:
            return HostnameEndpoint(self._reactor, host, port)
        return (TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint)(self._reactor, host, port)

    def close(self) -> None:
        """End the connection, if it has not ended."""
        connection, self.connection = self.connection, None
        if connection is not None and connection.transport is not None:
            connection.transport.abortConnection()


def _trust(ca_file: str) -> Any:
    """Who vouches for the server.

    Raises:
        GrantError: the file cannot be used.
    """
    if not ca_file:
        return platformTrust()
    try:
        with Path(ca_file).open("rb") as file:
            pem = file.read(LARGEST_CA_FILE)
        found = load_pem_x509_certificates(pem)
    except OSError as error:
        raise GrantError(f"ca_file {ca_file}: {error.strerror}", Remedy.CONFIGURE) from error
    except ValueError as error:
        raise GrantError(f"ca_file {ca_file}: there is no certificate in PEM", Remedy.CONFIGURE) from error
    return trustRootFromCertificates([Certificate(crypto.X509.from_cryptography(each)) for each in found])


# ---- what went wrong ----


def _too_late(outcome: object, seconds: float) -> object:
    """What becomes of an exchange whose time is over: twisted.web wraps the cancelling, so that it is not known by its type."""
    if isinstance(outcome, Failure):
        raise TooLateError(seconds)
    return outcome


def _no_reply(way: _Way, problem: str) -> GrantError:
    return GrantError(f"no reply from the token server {way.server}: {problem}", Remedy.WAIT)


def _problem(error: BaseException) -> str:
    """What went wrong with a connection, in words; empty: that is not what went wrong."""
    return next((words for each in _causes(error) if (words := _words(each))), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error of twisted.web with those that it wraps, the innermost first."""
    for reason in getattr(error, "reasons", ()):
        yield from _causes(reason.value)
    yield error


def _words(error: BaseException) -> str:
    match error:
        case VerificationError():
            return "its certificate is that of another server"
        case SSL.Error():
            entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
            return f"TLS: {entries[-1][-1]}" if entries and entries[-1][-1] else "TLS failed"
        case DNSLookupError():
            return "its name is not known"
        case ConnectTimeoutError():
            return "it does not answer"
        case ConnectError():
            return f"cannot connect: {error.args[0] if error.args else error}"
        case ConnectionClosed():
            return "the connection was lost"
    # What else twisted.web says is about a reply that is no HTTP.
    return "it does not speak HTTP" if type(error).__module__.startswith("twisted.web") else ""
