"""Tests of twisted_mta.postfix.postlog."""

import errno
import io
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IWriteDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_mta.config.settings import load_settings
from twisted_mta.model.events import Severity
from twisted_mta.postfix.postlog import (
    DEV_LOG,
    DatagramLog,
    DatagramSocket,
    LineFormat,
    connect_datagrams,
    open_log,
    stream_log,
    syslog_format,
    twisted_log_bridge,
)

PID = os.getpid()
WHEN = 1_700_000_000  # Tue Nov 14 22:13:20 UTC 2023
DAY = 86400


class FakeSocket:
    """One connection to a FakeListener."""

    def __init__(self, listener: "FakeListener") -> None:
        self._listener = listener
        self.closed = False

    def fileno(self) -> int:
        """Some number."""
        return 99

    def send(self, data: bytes, /) -> int:
        """Hand over a datagram, if that is possible."""
        if self is not self._listener.current:
            raise OSError(errno.ECONNREFUSED, "refused")
        if len(data) > 4000:
            raise OSError(errno.EMSGSIZE, "too long")
        if self._listener.room == 0:
            raise BlockingIOError(errno.EAGAIN, "would block")
        self._listener.room -= 1
        self._listener.lines.append(data)
        return len(data)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class FakeListener:
    """A datagram socket that holds some datagrams, and whose owner may go away and come back.

    Attributes:
        lines: what arrived.
        room: how many datagrams more it can hold.
        present: whether anybody listens.
        sockets: all connections.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.room = 1_000_000
        self.present = True
        self.sockets: list[FakeSocket] = []
        self.current: FakeSocket | None = None

    def connect(self, path: str) -> DatagramSocket:
        """A new connection."""
        if not self.present:
            raise FileNotFoundError(errno.ENOENT, path)
        self.current = FakeSocket(self)
        self.sockets.append(self.current)
        return self.current

    def leave(self) -> None:
        """Nobody listens any more."""
        self.present = False
        self.current = None


class LineFormatTests(SynchronousTestCase):
    """Lines."""

    def setUp(self) -> None:
        """A clock that shows a known time, in UTC."""
        zone = os.environ.get("TZ")
        self.addCleanup(self.set_zone, zone)
        self.set_zone("UTC0")
        self.clock = Clock()
        self.clock.advance(WHEN)

    def set_zone(self, zone: str | None) -> None:
        """Set the time zone."""
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        time.tzset()

    def test_postlog(self) -> None:
        """Date, host, tag, process, and a word for what is serious."""
        lines = LineFormat(self.clock, "%b %d %H:%M:%S", "client postfix/smtp")
        for severity, word in (
            (Severity.INFO, ""),
            (Severity.WARNING, "warning: "),
            (Severity.ERROR, "error: "),
            (Severity.FATAL, "fatal: "),
        ):
            self.assertEqual(
                lines.line(severity, "Q1: grün"),
                f"Nov 14 22:13:20 client postfix/smtp[{PID}]: {word}Q1: grün".encode(),
            )

    def test_time_goes_on(self) -> None:
        """The date is that of the line; its day has two digits."""
        lines = LineFormat(self.clock, "%b %d %H:%M:%S", "t")
        self.assertTrue(lines.line(Severity.INFO, "x").startswith(b"Nov 14 22:13:20 "))
        self.clock.advance(18 * DAY + 1.5)
        self.assertTrue(lines.line(Severity.INFO, "x").startswith(b"Dec 02 22:13:21 "))

    def test_syslog(self) -> None:
        """Priority and facility are a number in front; the day is padded by a blank."""
        lines = syslog_format(self.clock, "postfix/smtp", "mail")
        self.assertEqual(lines.line(Severity.INFO, "text"), f"<22>Nov 14 22:13:20 postfix/smtp[{PID}]: text".encode())
        self.clock.advance(18 * DAY)
        self.assertEqual(
            lines.line(Severity.WARNING, "text"), f"<20>Dec  2 22:13:20 postfix/smtp[{PID}]: warning: text".encode()
        )

    def test_facilities(self) -> None:
        """Other facilities have other numbers; one that nobody knows is taken for mail."""
        for facility, severity, number in (
            ("kern", Severity.FATAL, 2),
            ("daemon", Severity.ERROR, 27),
            ("authpriv", Severity.INFO, 86),
            ("local0", Severity.INFO, 134),
            ("local7", Severity.INFO, 190),
            ("nonsense", Severity.INFO, 22),
        ):
            line = syslog_format(self.clock, "t", facility).line(severity, "x")
            self.assertTrue(line.startswith(b"<%d>" % number), line)

    def test_stream(self) -> None:
        """A stream gets lines with ends, as long as it is open."""
        stream = io.BytesIO()
        log = stream_log(stream, "smtpdeliver", self.clock)
        log.write(Severity.WARNING, "careful")
        log.close()
        self.assertEqual(stream.getvalue(), f"Nov 14 22:13:20 smtpdeliver[{PID}]: warning: careful\n".encode())
        stream.close()
        log.write(Severity.INFO, "nobody hears this")


class DatagramLogTests(SynchronousTestCase):
    """Logging to a socket that may not be there, or not read."""

    def setUp(self) -> None:
        """A log with somebody who listens."""
        self.listener = FakeListener()
        self.reactor = MemoryReactorClock()
        self.log = self.new_log()

    def new_log(self) -> DatagramLog:
        """Open a log."""
        reactor: Any = self.reactor
        log = DatagramLog("public/postlog", LineFormat(reactor, "", "t"), reactor, reactor, self.listener.connect)
        self.addCleanup(log.close)
        return log

    def write(self, *texts: str) -> None:
        """Log texts."""
        for text in texts:
            self.log.write(Severity.INFO, text)

    def texts(self) -> list[str]:
        """What arrived."""
        return [line.decode().partition("]: ")[2] for line in self.listener.lines]

    def test_interface(self) -> None:
        """The reactor can watch it."""
        self.assertTrue(verifyObject(IWriteDescriptor, self.log))
        self.assertEqual(self.log.logPrefix(), "log")

    def test_sent_at_once(self) -> None:
        """One datagram a line; the socket was there before the first."""
        self.assertEqual(len(self.listener.sockets), 1)
        self.write("one", "two")
        self.assertEqual(self.texts(), ["one", "two"])
        self.assertEqual(self.reactor.getWriters(), [])

    def test_not_reading(self) -> None:
        """What finds no room is kept, in order, until there is room."""
        self.listener.room = 1
        self.write("one", "two", "three", "four")
        self.assertEqual(self.texts(), ["one"])
        self.assertEqual(self.reactor.getWriters(), [self.log])
        self.assertEqual(self.log.fileno(), 99)
        self.listener.room = 2
        self.log.doWrite()
        self.assertEqual(self.texts(), ["one", "two", "three"])
        self.listener.room = 9
        self.write("five")
        self.assertEqual(self.texts(), ["one", "two", "three"])
        self.log.doWrite()
        self.assertEqual(self.texts(), ["one", "two", "three", "four", "five"])
        self.assertEqual(self.reactor.getWriters(), [])
        self.write("six")
        self.assertEqual(self.texts()[-1], "six")

    def test_bounded(self) -> None:
        """Lines beyond the limit are lost, and their number is told."""
        self.listener.room = 0
        self.write(*["x" * 1000] * 17_000)
        self.listener.room = 100_000
        self.log.doWrite()
        kept = self.texts()[:-1]
        self.assertEqual(set(kept), {"x" * 1000})
        self.assertGreater(len(kept), 16_000)
        lost = 17_000 - len(kept)
        self.assertEqual(
            self.texts()[-1], f"warning: {lost} log lines were lost, because public/postlog did not take them in time"
        )
        self.write("more")
        self.assertEqual(self.texts()[-1], "more")

    def congest(self) -> list[bool]:
        """Log more than a reader that is there takes; returns what the service hears of it."""
        heard: list[bool] = []
        self.log.congested = heard.append
        self.listener.room = 0
        self.write(*["x" * 1000] * 100)
        return heard

    def test_slow_reader(self) -> None:
        """Whoever can wait is told when the reader falls behind, and when it has caught up."""
        heard = self.congest()
        self.assertEqual(heard, [True])
        self.listener.room = 60
        self.log.doWrite()
        self.assertEqual(heard, [True])
        self.reactor.advance(9)
        self.listener.room = 60
        self.log.doWrite()
        self.assertEqual(heard, [True, False])
        self.assertEqual(len(self.texts()), 100)

    def test_reader_that_stopped(self) -> None:
        """Nobody waits for a reader that has read nothing for ten seconds."""
        heard = self.congest()
        self.reactor.advance(9)
        self.listener.room = 1
        self.log.doWrite()
        self.reactor.advance(9.5)
        self.assertEqual(heard, [True])
        self.reactor.advance(1)
        self.assertEqual(heard, [True, False])

    def test_reader_that_left(self) -> None:
        """Nobody waits for a reader that is not there."""
        heard = self.congest()
        self.listener.leave()
        self.log.doWrite()
        self.assertEqual(heard, [True, False])

    def test_replaced(self) -> None:
        """Where another one listens now, the line goes there at once."""
        self.write("one")
        self.listener.connect("")
        self.write("two")
        self.assertEqual(self.texts(), ["one", "two"])
        self.assertEqual([s.closed for s in self.listener.sockets], [True, False, False])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_restarted(self) -> None:
        """While nobody listens lines are kept; a new connection is tried every second."""
        self.listener.leave()
        self.write("one", "two")
        self.assertEqual(self.log.fileno(), -1)
        self.reactor.advance(1)
        self.write("three")
        self.assertEqual(self.texts(), [])
        self.listener.present = True
        self.reactor.advance(1)
        self.assertEqual(self.texts(), ["one", "two", "three"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_absent_from_the_start(self) -> None:
        """Nobody has to listen when the log is opened."""
        self.listener.leave()
        self.log = self.new_log()
        self.write("one")
        self.listener.present = True
        self.reactor.advance(1)
        self.assertEqual(self.texts(), ["one"])

    def test_replaced_while_full(self) -> None:
        """What is kept goes to the new one."""
        self.listener.room = 0
        self.write("one")
        self.listener.leave()
        self.log.doWrite()
        self.assertEqual(self.reactor.getWriters(), [])
        self.listener.present, self.listener.room = True, 9
        self.reactor.advance(1)
        self.assertEqual(self.texts(), ["one"])

    def test_dropped_by_reactor(self) -> None:
        """A socket that the reactor gives up is replaced."""
        self.listener.room = 0
        self.write("one")
        self.listener.room = 9
        self.log.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.texts(), ["one"])
        self.assertTrue(self.listener.sockets[0].closed)

    def test_too_long(self) -> None:
        """A datagram that cannot be sent does not stop the others."""
        self.write("x" * 5000, "one")
        self.assertEqual(self.texts(), ["one"])

    def test_close(self) -> None:
        """Nothing is left behind, and nothing is logged any more."""
        self.listener.room = 0
        self.write("one")
        self.log.close()
        self.listener.leave()
        self.write("two")
        self.assertEqual((self.reactor.getWriters(), self.reactor.getDelayedCalls()), ([], []))
        other = self.new_log()
        other.write(Severity.INFO, "three")
        other.close()
        self.assertEqual((self.reactor.getWriters(), self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(self.texts(), [])


class ConnectDatagramsTests(SynchronousTestCase):
    """Real sockets, which no reactor watches."""

    def test_never_waits(self) -> None:
        """A datagram arrives as it is; a full socket is an error at once; so is one that is not there."""
        path = os.path.join(self.mktemp())
        self.assertRaises(FileNotFoundError, connect_datagrams, path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(path)
            sending = connect_datagrams(path)
            self.addCleanup(sending.close)
            self.assertFalse(os.get_inheritable(sending.fileno()))
            sending.send(b"line")
            self.assertEqual(listening.recv(4096), b"line")
            with self.assertRaises(BlockingIOError):
                for _ in range(100_000):
                    sending.send(b"line")
        with self.assertRaises(ConnectionRefusedError):
            sending.send(b"line")


class OpenLogTests(SynchronousTestCase):
    """The log that the configuration wants."""

    def test_postlogd(self) -> None:
        """With maillog_file lines go to postlogd(8)."""
        directory = self.mktemp()
        os.makedirs(os.path.join(directory, "public"))
        with open(os.path.join(directory, "main.cf"), "w", encoding="ascii") as file:
            file.write(
                f"queue_directory = {directory}\nmaillog_file = /var/log/mail\npostlog_service_name = plog\n"
                "myhostname = client.example.com\nsyslog_name = postfix/relay\n"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(os.path.join(directory, "public", "plog"))
            log = open_log(load_settings(Path(directory)), "smtp", MemoryReactorClock())
            self.addCleanup(log.close)
            log.write(Severity.WARNING, "text")
            self.assertTrue(listening.recv(4096).endswith(b" client postfix/relay/smtp[%d]: warning: text" % PID))

    def test_dev_log(self) -> None:
        """Syslog listens where it always does."""
        self.assertEqual(DEV_LOG, "/dev/log")


class MemoryLog:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[Severity, str]] = []
        self.congested: Callable[[bool], object] = print

    def write(self, severity: Severity, text: str) -> None:
        """Take a line."""
        self.lines.append((severity, text))

    def close(self) -> None:
        """Nothing to do."""


class TwistedLogBridgeTests(SynchronousTestCase):
    """What Twisted has to say."""

    def setUp(self) -> None:
        """A logger of its own."""
        self.log = MemoryLog()
        self.logger = Logger("test", observer=LogPublisher(twisted_log_bridge(self.log)))

    def test_interface(self) -> None:
        """Twisted can tell it."""
        self.assertTrue(verifyObject(ILogObserver, twisted_log_bridge(self.log)))

    def test_levels(self) -> None:
        """Only what is serious."""
        self.logger.debug("d")
        self.logger.info("i")
        self.logger.warn("beware of {what}", what="dogs")
        self.logger.error("e")
        self.logger.critical("c")
        self.assertEqual(
            self.log.lines, [(Severity.WARNING, "beware of dogs"), (Severity.ERROR, "e"), (Severity.ERROR, "c")]
        )

    def test_failure(self) -> None:
        """A traceback is one line that ends with the exception."""
        try:
            raise ValueError("two\nlines")
        except ValueError:
            self.logger.failure("it broke")
        ((severity, text),) = self.log.lines
        self.assertIs(severity, Severity.ERROR)
        self.assertTrue(text.startswith("it broke | Traceback"), text)
        self.assertTrue(text.endswith("| builtins.ValueError: two | lines"), text)

    def test_long(self) -> None:
        """Of a long text the start and the end are shown."""
        self.logger.error("{text}", text="a" * 3000 + "z" * 3000)
        text = self.log.lines[0][1]
        self.assertEqual(len(text), 2000)
        self.assertTrue(text.startswith("a" * 500 + " ... z") and text.endswith("z"))

    @given(st.text(max_size=200))
    @settings(deadline=None, max_examples=50)
    def test_any_text(self, text: str) -> None:
        """Whatever it is, it is one printable line."""
        self.logger.error("{text}", text=text)
        self.assertTrue(self.log.lines[-1][1].isascii())
        self.assertTrue(self.log.lines[-1][1].isprintable())
