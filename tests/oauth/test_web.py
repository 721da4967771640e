"""Posting forms over real sockets on loopback: what comes back, and what a hostile server cannot do."""

import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.kit.pki import Identity, shared_pki, write
from tests.kit.private_reactor import PrivateReactor
from tests.kit.server_tls import server_context
from tests.kit.token_server import Answer, TokenServer
from twisted_mta.oauth.web import LARGEST_ANSWER, WebClient
from twisted_mta.sasl.oauth import LARGEST_REPLY, GrantError, HttpReply, Remedy, TokenRequest


class RawServer(Protocol):
    """Says something as soon as anything comes, and perhaps hangs up."""

    octets = b""
    ends = True

    def dataReceived(self, data: bytes) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self.octets)
        if self.ends:
            self.transport.loseConnection()


class WebCase(SynchronousTestCase):
    """A client, and a reactor for both ends."""

    def setUp(self) -> None:
        """Make them."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        self.client = WebClient(self.reactor, time_limit_seconds=5.0)
        self.outcome: list[Any] = []

    def begin(self, url: str, form: bytes = b"a=b", authorization: str = "", ca_file: str = "") -> Deferred[None]:
        """Post a form."""
        posting = self.client.post(TokenRequest(url, form, authorization), ca_file)
        return Deferred.fromCoroutine(posting).addBoth(self.outcome.append)

    def end(self) -> Any:
        """Wait for what comes of it."""
        self.reactor.until(lambda: self.outcome)
        return self.outcome[0]

    def post(self, url: str, **options: Any) -> HttpReply:
        """Post a form, and wait for the reply."""
        self.begin(url, **options)
        reply = self.end()
        assert isinstance(reply, HttpReply), reply
        return reply

    def problem(self, url: str, **options: Any) -> str:
        """Post a form, and wait for what goes wrong."""
        self.begin(url, **options)
        failure = self.end()
        assert isinstance(failure, Failure)
        error = failure.value
        assert isinstance(error, GrantError), error
        return error.problem

    def raw_server(self, octets: bytes, *, ends: bool = True) -> str:
        """The URL of a server that says this."""
        factory = Factory.forProtocol(type("Raw", (RawServer,), {"octets": octets, "ends": ends}))
        factory.noisy = False
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/token"


class PostTests(WebCase):
    """A token server of HTTP."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.server = TokenServer(self.reactor.seconds)
        self.server.listen(self.reactor)
        self.addCleanup(self.server.stop)

    def will_say(self, *answers: Answer) -> str:
        """Let the server say something; returns the URL."""
        self.server.answers["/token"] = list(answers)
        return self.server.url("/token")

    def test_form(self) -> None:
        """A form goes out with its headers; status, content and what matters of the headers come back."""
        url = self.will_say(Answer(503, b'{"x": 1}', (("Retry-After", "7"), ("Location", "/other"))))
        self.assertEqual(
            self.post(url, form=b"grant_type=x&y=%20", authorization="Basic eA=="),
            HttpReply(503, b'{"x": 1}', "7", "/other"),
        )
        (asked,) = self.server.requests
        self.assertEqual((asked.fields, asked.authorization), ({"grant_type": "x", "y": " "}, "Basic eA=="))

    def test_redirects(self) -> None:
        """Nobody is followed anywhere: the secrets stay here."""
        for status in (301, 302, 303, 307, 308):
            self.outcome.clear()
            url = self.will_say(Answer(status, b"", (("Location", self.server.url("/elsewhere")),)))
            self.assertEqual(self.post(url).status, status)
        self.assertEqual({asked.path for asked in self.server.requests}, {"/token"})

    def test_hang_up(self) -> None:
        """A connection that ends before the reply is named as such; nothing is tried twice."""
        text = self.problem(self.will_say(Answer(hang_up=True)))
        self.assertEqual(text, "no reply from the token server 127.0.0.1: the connection was lost")
        self.assertEqual(len(self.server.requests), 1)

    def test_endless_reply(self) -> None:
        """A reply that never ends is cut off, as soon as it is longer than any sane one."""
        text = self.problem(self.will_say(Answer(200, b"x" * 4096, flood=True)))
        self.assertEqual(text, f"no reply from the token server 127.0.0.1: it is longer than {LARGEST_ANSWER} bytes")

    def test_long_reply(self) -> None:
        """Of a reply that is a little too long no more than the limit is kept."""
        reply = self.post(self.will_say(Answer(200, b"x" * (LARGEST_REPLY + 5))))
        self.assertEqual(len(reply.body), LARGEST_REPLY)

    def test_slow_reply(self) -> None:
        """A reply that does not come in time is not waited for, and its connection is closed."""
        self.client = WebClient(self.reactor, time_limit_seconds=0.2)
        text = self.problem(self.will_say(Answer(wait=True)))
        self.assertEqual(text, "no reply from the token server 127.0.0.1: it takes longer than 0.2 seconds")
        self.reactor.until(lambda: not self.server.open)

    def test_cancelled(self) -> None:
        """Whoever does not want to know any more can say so, and the connection is closed."""
        posting = self.begin(self.will_say(Answer(wait=True)))
        self.reactor.until(lambda: self.server.requests)
        posting.cancel()
        failure = self.end()
        self.assertIsInstance(failure.value, CancelledError)
        self.reactor.until(lambda: not self.server.open)

    def test_nobody_there(self) -> None:
        """A port that nobody listens at."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            text = self.problem(f"http://127.0.0.1:{port}/token")
        self.assertRegex(text, "^no reply from the token server 127.0.0.1: cannot connect: .*Connection refused")


class NonsenseTests(WebCase):
    """Servers of anything but HTTP."""

    def test_other_protocols(self) -> None:
        """What is no HTTP is named as such."""
        for octets in (b"220 mail.example ESMTP\r\n", b"\0\xff\n\n", b"HTTP/9.x hm\r\n\r\n"):
            self.outcome.clear()
            text = self.problem(self.raw_server(octets))
            self.assertIn(text.rpartition(": ")[2], ("it does not speak HTTP", "the connection was lost"))

    def test_endless_headers(self) -> None:
        """Headers have no more room than all of a reply has."""
        text = self.problem(self.raw_server(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 20000, ends=False))
        self.assertIn("it is longer than", text)

    def test_endless_line(self) -> None:
        """Nor has a single line."""
        text = self.problem(self.raw_server(b"HTTP/1.1 200 " + b"x" * 200000, ends=False))
        self.assertTrue(text.endswith(("bytes", "it does not speak HTTP", "the connection was lost")), text)

    def test_cut_reply(self) -> None:
        """Less than was announced is no reply."""
        text = self.problem(self.raw_server(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"access_'))
        self.assertTrue(text.startswith("no reply from the token server"), text)

    def test_reply_without_a_length(self) -> None:
        """A reply may end with the connection."""
        reply = self.post(self.raw_server(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}'))
        self.assertEqual((reply.status, reply.body), (200, b'{"a": 1}'))


@implementer(IOpenSSLContextFactory)
class Contexts:
    """Has one context."""

    def __init__(self, identity: Identity) -> None:
        self._context = server_context(identity)

    def getContext(self) -> Any:  # Twisted's name
        """The context."""
        return self._context


class SecureTests(WebCase):
    """Servers of HTTPS."""

    def setUp(self) -> None:
        """Have somebody to trust."""
        super().setUp()
        pki = shared_pki()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.ca_file = write(folder, "ca.pem", pki.other_root.certificate_pem + pki.root.certificate_pem)
        self.folder = folder

    def url_of(self, identity: Identity) -> str:
        """The URL of a server with a certificate."""
        server = TokenServer(self.reactor.seconds)
        server.listen(self.reactor, context=Contexts(identity))
        self.addCleanup(server.stop)
        return server.url("/token")

    def test_certificate(self) -> None:
        """A certificate for the server's address, from an authority of the account's file."""
        url = self.url_of(shared_pki().issue(None, names=["127.0.0.1"]))
        self.assertEqual(self.post(url, ca_file=self.ca_file).status, 401)

    def test_wrong_certificates(self) -> None:
        """Nothing is sent to a server that is somebody else, or whom nobody knows."""
        for identity, ca_file, words in (
            (shared_pki()["valid"], self.ca_file, "its certificate is that of another server"),
            (shared_pki().issue(None, names=["127.0.0.1"]), "", "TLS: certificate verify failed"),
            (
                shared_pki().issue(None, names=["127.0.0.1"], ends_in_days=-0.5),
                self.ca_file,
                "TLS: certificate verify failed",
            ),
        ):
            self.outcome.clear()
            text = self.problem(self.url_of(identity), ca_file=ca_file)
            self.assertEqual(text, f"no reply from the token server 127.0.0.1: {words}")

    def test_plain_server(self) -> None:
        """A server that does not speak TLS."""
        text = self.problem(self.raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n").replace("http:", "https:"))
        self.assertRegex(text, "TLS: (wrong version number|packet length too long|record layer failure)$")

    def test_bad_authorities(self) -> None:
        """A file of authorities that cannot be used is named."""
        empty = write(self.folder, "empty.pem", b"hello")
        for path, problem in (
            (empty, "there is no certificate in PEM"),
            ("/nonexistent", "No such file or directory"),
        ):
            self.outcome.clear()
            self.assertEqual(self.problem("https://127.0.0.1:1/", ca_file=path), f"ca_file {path}: {problem}")
            self.assertEqual(self.outcome[0].value.remedy, Remedy.CONFIGURE)
