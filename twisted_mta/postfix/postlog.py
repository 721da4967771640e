"""Where log lines go: to postlogd(8) or syslog, which never makes the caller wait, or to a stream.

Flow: resident.py renders events with observe/maillog.py and writes the texts here; Twisted's own warnings come over the bridge.
Sources: postlogd(8), MAILLOG_README; postconf(5) maillog_file, syslog_facility, syslog_name, postlog_service_name; syslog(3);
RFC 3164 section 4.1.
"""

import contextlib
import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IWriteDescriptor
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Severity
from twisted_mta.model.text import printable

DEV_LOG = "/dev/log"
"""Where syslog listens."""

_RECONNECT_SECONDS = 1.0
_MOST_OCTETS_KEPT = 16 * 1024 * 1024
_CONGESTED_OCTETS = 64 * 1024
_STALLED_SECONDS = 10.0
_LONGEST_BRIDGED = 2000
_BRIDGED_HEAD = 500

_FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
    "authpriv": 10, "ftp": 11,
}  # fmt: skip
_FACILITIES |= {f"local{number}": 16 + number for number in range(8)}
_PRIORITIES = {Severity.INFO: 6, Severity.WARNING: 4, Severity.ERROR: 3, Severity.FATAL: 2}
_NO_PRIORITIES = dict.fromkeys(Severity, "")
_WORDS = {severity: f"{severity.value}: " if severity.value else "" for severity in Severity}


class LogWriter(Protocol):
    """Takes log lines."""

    congested: Callable[[bool], object]
    """Called with True when whoever reads the log falls behind, and with False when that is over; to be set by who can wait."""

    def write(self, severity: Severity, text: str) -> None:
        """Log a printable text; never waits, never raises."""

    def close(self) -> None:
        """Log nothing more."""


def open_log(settings: Settings, process_name: str, reactor: Any) -> LogWriter:
    """The log that the configuration wants; open it before privileges are dropped.

    Args:
        settings: maillog_file decides between postlogd(8) and syslog.
        process_name: the last part of the tag, as in ``postfix/smtp``.
        reactor: gives the time, and tells when a log that did not read reads again.
    """
    tag = f"{settings.syslog_name}/{process_name}"
    if settings.maillog_file:
        path = os.path.join(settings.queue_directory, "public", settings.postlog_service_name)
        host = settings.myhostname.partition(".")[0]
        return DatagramLog(path, LineFormat(reactor, "%b %d %H:%M:%S", f"{host} {tag}"), reactor, reactor)
    return DatagramLog(DEV_LOG, syslog_format(reactor, tag, settings.syslog_facility), reactor, reactor)


def _nobody_waits(congested: bool) -> None:
    """Go on, however far behind the log is."""


def syslog_format(clock: IReactorTime, tag: str, facility: str) -> "LineFormat":
    """Lines as syslog(3) sends them, of a facility such as ``mail``; an unknown one is taken for that."""
    code = _FACILITIES.get(facility, _FACILITIES["mail"]) << 3
    priorities = {severity: f"<{code | priority}>" for severity, priority in _PRIORITIES.items()}
    return LineFormat(clock, "%b %e %H:%M:%S", tag, priorities)


def stream_log(stream: BinaryIO, process_name: str, clock: IReactorTime) -> LogWriter:
    """A log for people who look on, without Postfix."""
    return StreamLog(stream, LineFormat(clock, "%b %d %H:%M:%S", process_name))


class LineFormat:
    """Makes a line of a severity and a text: ``Nov 14 22:13:20 HOST IDENT[PID]: warning: TEXT``.

    Args:
        clock: wall time.
        pattern: of the time, for strftime(3).
        tag: what stands between the time and the process id.
        priorities: what stands in front of all.
    """

    def __init__(
        self, clock: IReactorTime, pattern: str, tag: str, priorities: Mapping[Severity, str] = _NO_PRIORITIES
    ) -> None:
        self._clock = clock
        self._pattern = pattern
        self._tag = tag
        self._priorities = priorities
        self._second = -1
        self._head = ""

    def line(self, severity: Severity, text: str) -> bytes:
        """The line, without an end."""
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            # The process id may change too, when twistd goes into the background.
            self._head = f"{time.strftime(self._pattern, time.localtime(second))} {self._tag}[{os.getpid()}]: "
        return f"{self._priorities[severity]}{self._head}{_WORDS[severity]}{text}".encode("utf-8", "replace")


class DatagramSocket(Protocol):
    """What is needed of a socket."""

    def fileno(self) -> int:
        """Its number."""

    def send(self, data: bytes, /) -> int:
        """Send one datagram."""

    def close(self) -> None:
        """Close it."""


def connect_datagrams(path: str) -> DatagramSocket:
    """A socket that sends to whoever listens at `path`, without ever waiting; raises OSError."""
    sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sending.connect(path)
    except OSError:
        sending.close()
        raise
    return sending


@implementer(IWriteDescriptor)
class DatagramLog:
    """A log to a datagram socket.

    What cannot be sent at once is kept, up to a limit, until the other side reads again or is there again; how many lines were
    lost beyond that is said in a line of its own.

    Args:
        path: where the socket is.
        line_format: makes the lines.
        reactor: tells when the socket can be written to.
        clock: for the time until another attempt to connect.
        connect: makes a socket.
    """

    def __init__(
        self,
        path: str,
        line_format: LineFormat,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        connect: Callable[[str], DatagramSocket] = connect_datagrams,
    ) -> None:
        self._path = path
        self._format = line_format
        self._reactor = reactor
        self._clock = clock
        self._connect = connect
        self._kept: deque[bytes] = deque()
        self._kept_octets = 0
        self._lost = 0
        self.congested: Callable[[bool], object] = _nobody_waits
        self._is_congested = False
        self._progress_at = 0.0
        self._stall: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._closed = False
        self._socket = self._new_socket()

    def write(self, severity: Severity, text: str) -> None:
        """Log a text (see LogWriter)."""
        line = self._format.line(severity, text)
        if self._kept or not self._sent(line):
            self._keep(line)

    def close(self) -> None:
        """Give up what could not be sent."""
        self._closed = True
        self._is_congested = False
        self._kept.clear()
        for call in (self._retry, self._stall):
            if call is not None:
                call.cancel()
        self._retry = self._stall = None
        self._hang_up()

    def _keep(self, line: bytes) -> None:
        if self._closed:
            return
        if self._kept_octets + len(line) > _MOST_OCTETS_KEPT:
            self._lost += 1
            return
        self._kept.append(line)
        self._kept_octets += len(line)
        if self._kept_octets > _CONGESTED_OCTETS and not self._is_congested and self._socket is not None:
            # A reader that is there and slow is worth waiting for; one that is not there must not hold up the mail.
            self._is_congested = True
            self._progress_at = self._clock.seconds()
            if self._stall is None:
                self._stall = self._clock.callLater(_STALLED_SECONDS, self._look_for_progress)
            self.congested(True)

    def _look_for_progress(self) -> None:
        """Wait no longer for a reader that has stopped to read."""
        self._stall = None
        if self._is_congested:
            left = self._progress_at + _STALLED_SECONDS - self._clock.seconds()
            if left > 0:
                self._stall = self._clock.callLater(left, self._look_for_progress)
            else:
                self._relieve()

    def _relieve(self) -> None:
        if self._is_congested:
            self._is_congested = False
            self.congested(False)

    def _sent(self, line: bytes) -> bool:
        """Try to send; if that is impossible now, see to it that `_send_kept` is called when it may be possible."""
        for _ in range(2):
            if self._socket is None:
                self._socket = self._new_socket()
            if self._socket is None:
                break
            try:
                self._socket.send(line)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    self._reactor.addWriter(self)
                    return False
                if error.errno == errno.EMSGSIZE:
                    self._lost += 1
                    return True
                self._hang_up()  # whoever listened is gone; perhaps another one listens there now
            else:
                return True
        if self._retry is None and not self._closed:
            self._retry = self._clock.callLater(_RECONNECT_SECONDS, self._retry_now)
        return False

    def _send_kept(self) -> None:
        while self._kept:
            if not self._sent(self._kept[0]):
                if self._socket is None:
                    self._relieve()
                return
            self._kept_octets -= len(self._kept.popleft())
            if self._is_congested:
                self._progress_at = self._clock.seconds()
        self._relieve()
        if self._socket is not None:
            self._reactor.removeWriter(self)
        if self._lost:
            lost, self._lost = self._lost, 0
            self.write(Severity.WARNING, f"{lost} log lines were lost, because {self._path} did not take them in time")

    def _retry_now(self) -> None:
        self._retry = None
        self._send_kept()

    def _new_socket(self) -> DatagramSocket | None:
        if self._closed:
            return None
        try:
            return self._connect(self._path)
        except OSError:
            return None

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._reactor.removeWriter(self)
            self._socket.close()
            self._socket = None

    # ---- IWriteDescriptor ----

    def doWrite(self) -> None:
        """The other side reads again."""
        self._send_kept()

    def fileno(self) -> int:
        """The socket's number; -1 if there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the socket unusable."""
        self._hang_up()
        self._send_kept()

    def logPrefix(self) -> str:
        """A name for the reactor's own log."""
        return "log"


class StreamLog:
    """A log to a stream.

    Args:
        stream: takes the lines; a pipe that is full makes the caller wait.
        line_format: makes the lines.
    """

    def __init__(self, stream: BinaryIO, line_format: LineFormat) -> None:
        self.congested: Callable[[bool], object] = _nobody_waits
        self._stream = stream
        self._format = line_format

    def write(self, severity: Severity, text: str) -> None:
        """Log a text (see LogWriter)."""
        with contextlib.suppress(OSError, ValueError):  # closed: there is nowhere to say so
            self._stream.write(self._format.line(severity, text) + b"\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the stream open: it belongs to others."""


def twisted_log_bridge(log: LogWriter) -> ILogObserver:
    """An observer that logs the warnings and errors of Twisted, each as one line with its traceback; the rest is chatter."""
    return _Bridge(log)


@implementer(ILogObserver)
class _Bridge:
    def __init__(self, log: LogWriter) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level < LogLevel.warn:
            return
        severity = Severity.WARNING if level is LogLevel.warn else Severity.ERROR
        self._log.write(severity, _one_line(eventAsText(event, includeTimestamp=False, includeSystem=False)))


def _one_line(text: str) -> str:
    """All lines in one; of a long text the start, and the end, where the exception stands."""
    line = printable(" | ".join(part.strip() for part in text.splitlines() if part.strip()), utf8=False)
    if len(line) > _LONGEST_BRIDGED:
        line = f"{line[:_BRIDGED_HEAD]} ... {line[_BRIDGED_HEAD + 5 - _LONGEST_BRIDGED :]}"
    return line
