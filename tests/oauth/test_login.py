"""Logging in once: a person consents, somewhere, and tokens come of it."""

import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.private_reactor import PrivateReactor
from tests.kit.token_server import Answer, TokenServer
from twisted_mta.cli.input_lines import lines_of
from twisted_mta.oauth import grants
from twisted_mta.oauth.login import TIME_LIMIT_SECONDS, log_in_by_browser, log_in_by_device
from twisted_mta.oauth.web import WebClient
from twisted_mta.sasl.oauth import GrantError
from twisted_mta.sasl.oauth_account import Account, Grant
from twisted_mta.sasl.oauth_device import DeviceCode
from twisted_mta.sasl.oauth_tokens import Tokens

USER = "alice@dest.example"

DEVICE = Account(
    "work",
    Grant.DEVICE_CODE,
    "client",
    "hush",
    token_endpoint="https://t.example/token",
    device_authorization_endpoint="https://t.example/device",
    scope="mail",
)


class DeviceTests(SynchronousTestCase):
    """A person enters a code."""

    def setUp(self) -> None:
        """Begin a login."""
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.server = TokenServer(self.clock.seconds)
        self.shown: list[DeviceCode] = []

    def begin(self, account: Account = DEVICE) -> Deferred[Tokens]:
        """Begin."""
        server = grants.TokenServer(self.server.post, self.clock.seconds)
        return Deferred.fromCoroutine(log_in_by_device(account, server, self.clock, self.shown.append))

    def polls(self) -> int:
        """How often the server was asked whether somebody has consented."""
        return len([asked for asked in self.server.requests if asked.path == "/token"])

    def test_consent(self) -> None:
        """The person is told where to go; as soon as the consent is there, tokens are."""
        login = self.begin()
        (code,) = self.shown
        self.assertEqual(code.user_code, "ABCD-0001")
        self.clock.pump([5.0] * 3)
        self.assertNoResult(login)
        self.assertEqual(self.polls(), 3)
        self.server.consent(USER, "ABCD-0001")
        self.clock.advance(5.0)
        tokens = self.successResultOf(login)
        self.assertEqual(tokens.access_token, self.server.given(USER)[-1])
        self.assertEqual(tokens.refresh_token, self.server.refresh_token(USER))
        self.assertEqual((tokens.lifetime_seconds, tokens.scope), (3600.0, "mail"))

    def test_no(self) -> None:
        """Somebody says no."""
        login = self.begin()
        self.server.refuse()
        self.clock.advance(5.0)
        self.assertEqual(self.failureResultOf(login, GrantError).value.problem, "consent was refused")

    def test_nobody(self) -> None:
        """Nobody does anything: it is over with the code, and the server was not asked too often."""
        login = self.begin()
        self.clock.pump([5.0] * 130)
        self.assertEqual(self.failureResultOf(login, GrantError).value.problem, "nobody consented in time")
        self.assertLessEqual(self.polls(), 120)

    def test_trouble_on_the_way(self) -> None:
        """A server that is away for a moment is asked again, less often."""
        self.server.answers["/token"] = [Answer(hang_up=True), Answer(503), Answer(200, b"<html>")]
        login = self.begin()
        self.server.consent(USER)
        for seconds in (5.0, 10.0, 20.0):
            self.clock.advance(seconds)
            self.assertNoResult(login)
        self.clock.advance(40.0)
        self.successResultOf(login)

    def test_server_that_stays_away(self) -> None:
        """But not for ever."""
        login = self.begin()
        self.server.answers["/token"] = [Answer(hang_up=True)] * 100
        self.clock.pump([5.0] * 200)
        self.assertEqual(self.failureResultOf(login, GrantError).value.problem, "nobody consented in time")

    def test_unwanted_client(self) -> None:
        """A client that the server does not want is told at once."""
        login = self.begin(replace(DEVICE, client_id="other"))
        self.assertIn("invalid_client", self.failureResultOf(login, GrantError).value.problem)
        self.assertEqual(self.shown, [])

    def test_cancelled(self) -> None:
        """Whoever does not want to wait any more leaves nothing running."""
        login = self.begin()
        login.addErrback(lambda _: None)
        login.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Browser(Protocol):
    """Opens one URL."""

    def __init__(self, target: str) -> None:
        self.received = b""
        self.is_over = False
        self._target = target

    def connectionMade(self) -> None:
        """Ask for it."""
        assert self.transport is not None
        self.transport.write(f"GET {self._target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def dataReceived(self, data: bytes) -> None:
        """Take what comes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The page is there."""
        self.is_over = True


class BrowserTests(SynchronousTestCase):
    """A person consents in a browser, over real sockets on loopback."""

    def setUp(self) -> None:
        """Start a token server, and a login."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        self.server = TokenServer(self.reactor.seconds)
        self.server.listen(self.reactor)
        self.addCleanup(self.server.stop)
        self.account = Account(
            "work",
            Grant.AUTHORIZATION_CODE,
            "client",
            "hush",
            token_endpoint=self.server.url("/token"),
            authorization_endpoint="https://t.example/consent",
            scope="mail",
        )
        self.shown: list[str] = []
        self.complaints: list[str] = []
        self.outcome: list[Any] = []
        self.threads = threading.active_count()
        reading, self.keyboard = os.pipe()
        self.addCleanup(os.close, reading)
        self.lines: AsyncIterator[str] = lines_of(self.reactor, reading)

    def begin(self, **changes: Any) -> dict[str, str]:
        """Begin a login; returns what the URL says that is to be opened."""
        server = grants.TokenServer(WebClient(self.reactor).post, self.reactor.seconds)
        login = log_in_by_browser(
            replace(self.account, **changes),
            USER,
            server,
            self.reactor,
            self.shown.append,
            self.complaints.append,
            self.lines,
        )
        self.login = Deferred.fromCoroutine(login)
        self.login.addBoth(self.outcome.append)
        (url,) = self.shown
        return dict(parse_qsl(urlsplit(url).query))

    def browse(self, url: str) -> int:
        """Open a URL with a browser; returns the status."""
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        browser = Browser(url[len(f"http://{parts.netloc}") :])
        factory = Factory.forProtocol(lambda: browser)
        TCP4ClientEndpoint(self.reactor, parts.hostname, parts.port).connect(factory)
        self.reactor.until(lambda: browser.is_over)
        return int(browser.received.split()[1])

    def end(self) -> Any:
        """Wait for what comes of it."""
        if self.keyboard >= 0:
            os.close(self.keyboard)
            self.keyboard = -1
        # The thread that reads the keyboard tells the reactor of its end.
        self.reactor.until(lambda: self.outcome and threading.active_count() <= self.threads)
        outcome = self.outcome[0]
        if isinstance(outcome, Failure):
            error = outcome.value
            assert isinstance(error, GrantError), error
            return error.problem
        return outcome

    def test_browser_comes_back(self) -> None:
        """The browser brings the code to this machine."""
        asked = self.begin()
        self.assertRegex(asked["redirect_uri"], r"\Ahttp://127\.0\.0\.1:\d+\Z")
        self.assertEqual(asked["login_hint"], USER)
        self.assertEqual(self.browse(self.server.browse(asked, USER)), 200)
        tokens = self.end()
        self.assertEqual(tokens.refresh_token, self.server.refresh_token(USER))
        self.assertEqual(self.complaints, [])
        self.assertEqual(self.reactor.getReaders() and self.server.open, 0)

    def test_other_places(self) -> None:
        """What a browser is sent to may have another name, or a path."""
        asked = self.begin(redirect_uri="http://localhost/done")
        self.assertRegex(asked["redirect_uri"], r"\Ahttp://localhost:\d+/done\Z")
        answer = self.server.browse({**asked, "redirect_uri": asked["redirect_uri"]}, USER)
        query = answer.partition("?")[2]
        here = asked["redirect_uri"].replace("localhost", "127.0.0.1")
        self.assertEqual(self.browse(f"{here}?{query}"), 200)
        self.assertIsInstance(self.end(), Tokens)

    def test_pasted(self) -> None:
        """A person with a browser elsewhere types the URL; what is none is complained of."""
        asked = self.begin()
        os.write(self.keyboard, b"\nhello\n")
        self.reactor.until(lambda: self.complaints)
        os.write(self.keyboard, f"{self.server.browse(asked, USER)}\n".encode())
        self.assertIsInstance(self.end(), Tokens)
        self.assertEqual(self.complaints, ["this is not the URL that the browser was sent to"])

    def test_strangers(self) -> None:
        """A page that sends browsers here cannot bring a code of its own, nor end the login."""
        asked = self.begin()
        here = asked["redirect_uri"]
        for path, status in (("/favicon.ico", 404), ("/", 404), ("/x?code=evil", 404), ("/?code=evil&state=x", 200)):
            self.assertEqual(self.browse(here + path), status)
        self.assertEqual(self.browse(self.server.browse(asked, USER)), 200)
        self.assertIsInstance(self.end(), Tokens)
        self.assertEqual(self.complaints, ["this is not the answer to this login: its state is another"])

    def test_no(self) -> None:
        """Somebody says no."""
        asked = self.begin()
        self.browse(f"{asked['redirect_uri']}/?error=access_denied&state={asked['state']}")
        self.assertEqual(self.end(), "consent was refused")

    def test_code_that_is_not_taken(self) -> None:
        """The server has the last word."""
        asked = self.begin()
        self.browse(f"{asked['redirect_uri']}/?code=unknown&state={asked['state']}")
        self.assertEqual(self.end(), "the token server says invalid_grant")

    def test_nowhere_to_listen(self) -> None:
        """An address that is not here is named."""
        login = log_in_by_browser(
            replace(self.account, redirect_uri="http://203.0.113.1"),
            USER,
            grants.TokenServer(self.server.post, self.reactor.seconds),
            self.reactor,
            self.shown.append,
            self.complaints.append,
            self.lines,
        )
        error = self.failureResultOf(Deferred.fromCoroutine(login), GrantError).value
        self.assertIn("nothing can listen at http://203.0.113.1", error.problem)
        os.close(self.keyboard)


class PatienceTests(SynchronousTestCase):
    """How long a person may take in a browser."""

    def test_too_late(self) -> None:
        """Not for ever."""
        reactor = MemoryReactorClock()
        login = Deferred.fromCoroutine(
            log_in_by_browser(
                Account("work", Grant.AUTHORIZATION_CODE, "client", authorization_endpoint="https://t.example/"),
                USER,
                grants.TokenServer(TokenServer(reactor.seconds).post, reactor.seconds),
                reactor,
                lambda url: None,
                lambda text: None,
                no_lines(),
            )
        )
        reactor.advance(TIME_LIMIT_SECONDS - 1)
        self.assertNoResult(login)
        reactor.advance(1)
        self.assertEqual(self.failureResultOf(login, GrantError).value.problem, "nobody consented in time")


async def no_lines() -> AsyncIterator[str]:
    """Nobody types anything."""
    for line in list[str]():
        yield line
