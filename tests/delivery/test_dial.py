"""Dialling: real connections on this machine, and the words for those that fail."""

import errno
import os
import socket
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.test_connecting import Listener
from tests.kit.private_reactor import PrivateReactor
from tests.kit.short_path import socket_path
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.dial import Dialer, DialError, DialSettings, dial_error
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import SocketNameTooLong
from twisted_mta.routing.candidates import Candidate, Family, local_candidate
from twisted_mta.routing.own_addresses import OwnAddresses

CANDIDATE = Candidate("mx.example", "192.0.2.1", 25, Family.IPV4)


class DialTestCase(SynchronousTestCase):
    """A dialer with a reactor of its own."""

    def setUp(self) -> None:
        """Make the reactor."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)

    def dial(self, candidate: Candidate, bind_address: str | None = None, **settings: Any) -> Listener | DialError:
        """Dial, and wait for what becomes of it."""
        outcome: list[Any] = []
        done = Dialer(self.reactor, DialSettings(**settings)).dial(candidate, Listener, bind_address)
        done.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        self.reactor.until(lambda: outcome)
        if isinstance(outcome[0], Listener):
            self.addCleanup(self.end, outcome[0])
        assert isinstance(outcome[0], Listener | DialError), outcome
        return outcome[0]

    def end(self, protocol: Listener) -> None:
        """Close a connection."""
        protocol.transport.dropConnection()
        self.reactor.until(lambda: protocol.end)

    def listen(self, family: socket.AddressFamily = socket.AF_INET) -> tuple[socket.socket, Candidate]:
        """Listen on the loopback interface; the server as a candidate."""
        server = socket.socket(family)
        self.addCleanup(server.close)
        address = "127.0.0.1" if family == socket.AF_INET else "::1"
        server.bind((address, 0))
        server.listen()
        kind = Family.IPV4 if family == socket.AF_INET else Family.IPV6
        return server, Candidate("mx.example", address, server.getsockname()[1], kind)


class ConnectionTests(DialTestCase):
    """Connections that come about, and some that do not."""

    def test_tcp(self) -> None:
        """Over TCP, with keepalive."""
        server, candidate = self.listen()
        protocol = self.dial(candidate)
        assert isinstance(protocol, Listener)
        accepted, peer = server.accept()
        self.addCleanup(accepted.close)
        self.assertEqual(peer[0], "127.0.0.1")
        accepted.send(b"220 hi\r\n")
        self.reactor.until(lambda: protocol.heard)
        skt = protocol.transport.getHandle()
        self.assertTrue(skt.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(protocol.transport.getPeer().port, candidate.port)

    def test_window(self) -> None:
        """The size of the buffers is set before the connection is made (tcp_windowsize)."""
        _, candidate = self.listen()
        protocol = self.dial(candidate, window_octets=20_000)
        assert isinstance(protocol, Listener)
        skt = protocol.transport.getHandle()
        # The kernel doubles what it is asked for (socket(7)).
        self.assertEqual(skt.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 40_000)
        self.assertEqual(skt.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 40_000)

    def test_bound(self) -> None:
        """From a local address."""
        server, candidate = self.listen()
        self.dial(candidate, "127.0.0.7")
        accepted, peer = server.accept()
        self.addCleanup(accepted.close)
        self.assertEqual(peer[0], "127.0.0.7")

    def test_bind_problem(self) -> None:
        """An address that is not of this machine."""
        _, candidate = self.listen()
        error = self.assertRaises(DialError, self.dial, candidate, "192.0.2.77")
        self.assertEqual(error.bind_problem, "Cannot assign requested address")
        self.assertEqual(error.why, DsnStatus("4.4.0", "server configuration error"))

    def test_bind_to_other_family(self) -> None:
        """An address that the socket cannot have."""
        _, candidate = self.listen()
        error = self.assertRaises(DialError, self.dial, candidate, "::1")
        self.assertEqual(error.bind_problem, "Address family not supported by protocol")

    def test_refused(self) -> None:
        """Nobody listens."""
        server, candidate = self.listen()
        server.close()
        error = self.dial(candidate)
        assert isinstance(error, DialError)
        reason = f"connect to mx.example[127.0.0.1]:{candidate.port}: Connection refused"
        self.assertEqual(error.why, DsnStatus("4.4.1", reason))
        self.assertFalse(error.reset)

    def test_local_socket(self) -> None:
        """Over a socket below the queue directory."""
        directory = self.mktemp()
        os.makedirs(f"{directory}/private")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{directory}/private/lmtp")
            server.listen()
            protocol = self.dial(local_candidate("client.test", "private/lmtp"), queue_directory=directory)
            self.assertIsInstance(protocol, Listener)

    def test_no_local_socket(self) -> None:
        """One that is not there."""
        error = self.dial(local_candidate("client.test", "private/lmtp"), queue_directory=self.mktemp())
        assert isinstance(error, DialError)
        self.assertEqual(error.why.reason, "connect to client.test[private/lmtp]: No such file or directory")

    def test_long_path(self) -> None:
        """A path that is longer than a socket address holds is a mistake in the configuration."""
        error = self.assertRaises(DialError, self.dial, local_candidate("client.test", "x" * 108), queue_directory="/")
        self.assertEqual(error.why, DsnStatus("4.3.5", "Server configuration error"))
        self.assertEqual(error.event, SocketNameTooLong("x" * 108))

    def test_long_directory(self) -> None:
        """A long queue_directory leaves room for the path within it, where the service runs there."""
        directory = os.path.join(os.path.abspath(self.mktemp()), "q" * 100)
        os.makedirs(f"{directory}/private")
        candidate = local_candidate("client.test", "private/lmtp")
        self.assertRaises(DialError, self.dial, candidate, queue_directory=directory)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("private/lmtp")
            server.listen()
            self.assertIsInstance(self.dial(candidate, queue_directory=directory), Listener)

    def test_absolute_paths(self) -> None:
        """They begin at the root, or with chroot at the queue directory (lmtp(8))."""
        directory = os.path.dirname(socket_path(self))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{directory}/lmtp")
            server.listen()
            for path, chroot in ((f"{directory}/lmtp", False), ("/lmtp", True), ("//lmtp", True), ("lmtp", True)):
                candidate = local_candidate("client.test", path)
                self.assertIsInstance(self.dial(candidate, queue_directory=directory, chroot=chroot), Listener, path)

    def test_cancelled(self) -> None:
        """An attempt that is no longer wanted ends without a trace."""
        full = socket.socket(socket.AF_UNIX)
        self.addCleanup(full.close)
        path = socket_path(self)
        full.bind(path)
        full.listen(0)
        filler = socket.socket(socket.AF_UNIX)
        self.addCleanup(filler.close)
        filler.connect(path)
        done = Dialer(self.reactor, DialSettings(queue_directory="/")).dial(
            local_candidate("client.test", path), Listener, None
        )
        self.assertNoResult(done)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ErrorTests(SynchronousTestCase):
    """The status of a connection that failed."""

    def test_words(self) -> None:
        """The system's words, always soft."""
        for number, words in {
            errno.ETIMEDOUT: "Connection timed out",
            errno.EHOSTUNREACH: "No route to host",
            errno.ENETUNREACH: "Network is unreachable",
        }.items():
            why = dial_error(CANDIDATE, number).why
            self.assertEqual(why, DsnStatus("4.4.1", f"connect to mx.example[192.0.2.1]:25: {words}"))

    def test_reset(self) -> None:
        """A reset is a connection that was made, and lost at once."""
        error = dial_error(CANDIDATE, errno.ECONNRESET)
        self.assertTrue(error.reset)

    def test_out_of_resources(self) -> None:
        """What this machine lacks is not the server's fault."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            why = dial_error(CANDIDATE, number).why
            self.assertEqual(why.status, "4.3.0")
            self.assertNotIn("mx.example", why.reason)


class DialSettingsTests(SynchronousTestCase):
    """The parameters."""

    def configured(self, *own: str, protocol: str = "smtp", **parameters: str) -> DialSettings:
        """The settings with these parameters, on a machine with these addresses."""
        settings = load_settings(None, protocol=protocol, overrides=list(parameters.items()))
        return DialSettings.from_settings(settings, OwnAddresses(own))

    def test_defaults(self) -> None:
        """30 seconds for SMTP, no limit for LMTP; no local address."""
        self.assertEqual(self.configured("192.0.2.1", "192.0.2.2").time_limit, 30)
        self.assertIsNone(self.configured(protocol="lmtp").time_limit)
        self.assertEqual(self.configured("127.0.0.1").bind, {})

    def test_implied_address(self) -> None:
        """The only address of a family is used for it; it is never enforced."""
        settings = self.configured("192.0.2.1", "::1", "2001:db8::1", smtp_bind_address_enforce="yes")
        self.assertEqual(settings.bind, {Family.IPV4: "192.0.2.1"})
        self.assertEqual(settings.bind_enforced, frozenset())

    def test_given_address(self) -> None:
        """One that is given wins, with or without brackets."""
        settings = self.configured(
            "192.0.2.1",
            smtp_bind_address="192.0.2.9",
            smtp_bind_address6="[2001:db8::9]",
            smtp_bind_address_enforce="yes",
            tcp_windowsize="65535",
        )
        self.assertEqual(settings.bind, {Family.IPV4: "192.0.2.9", Family.IPV6: "2001:db8::9"})
        self.assertEqual(settings.bind_enforced, {Family.IPV4, Family.IPV6})
        self.assertEqual(settings.window_octets, 65535)

    def test_no_time_limit(self) -> None:
        """0 means that of the system, not "at once"."""
        self.assertIsNone(self.configured(smtp_connect_timeout="0").time_limit)

    def test_odd_addresses(self) -> None:
        """Whatever connect(2) takes for an address may be bound to; one of the other family fails only then."""
        for value, address in (("192.0.545", "192.0.2.33"), ("[192.0.2.33]", "192.0.2.33"), ("::1", "::1")):
            settings = self.configured(smtp_bind_address=value)
            self.assertEqual((settings.bind, settings.bind_problem), ({Family.IPV4: address}, {}))

    def test_malformed_address(self) -> None:
        """What is no address is a problem for connections of that family alone; told as by smtp(8)."""
        unknown = "smtp_connect_addr: bad smtp_bind_address parameter: {}: Name or service not known"
        for value, problem in (
            ("localhost", unknown.format("localhost")),
            ("192.0.2.33]", unknown.format("192.0.2.33]")),
            ("192.0.2.33:99", unknown.format("192.0.2.33:99")),
            ("[]", unknown.format("")),
            ("[192.0.2.33", "smtp_connect_addr: malformed smtp_bind_address parameter: [192.0.2.33"),
        ):
            settings = self.configured(smtp_bind_address=value)
            self.assertEqual(settings.bind_problem, {Family.IPV4: problem})
            dialer = Dialer(Clock(), settings)
            error = self.assertRaises(DialError, dialer.bind_address, Family.IPV4)
            self.assertTrue(error.ends_all)
            self.assertEqual(error.why, DsnStatus("4.3.5", problem))
            self.assertIsNone(dialer.bind_address(Family.IPV6))
