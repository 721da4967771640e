"""Notices to the postmaster, as a running smtp(8) hands them to cleanup(8)."""

import os
import time
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.config.choices import FromFormat
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, NoticeNotSent, ServiceConfused, ServiceUnreachable
from twisted_mta.postfix.notices import GREETING, NoticeSettings, PostmasterNotices, date_of, encode_message
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import ErrorClass

NOW = 1_795_372_527.365180
RELAY = "mx1.dest.example[192.0.2.1]:25"
SETTINGS = NoticeSettings(
    ErrorClass.PROTOCOL,
    "client.example.com",
    sender="double-bounce@client.example.com",
    recipient="postmaster@origin.example",
)
RECORDED = (
    b"flags\x0032\x00\x00T\x111795372527 365180A\x18log_message_origin=localA\rtrace_flags=0"
    b"S double-bounce@client.example.comR\x19postmaster@origin.exampleM\x00"
    b"N)Received: by client.example.com (Postfix)"
    b"N5\tid 0123456789; Sun, 22 Nov 2026 18:35:27 +0000 (UTC)"
    b"N+Date: Sun, 22 Nov 2026 18:35:27 +0000 (UTC)"
    b"N=From: Mail Delivery System <MAILER-DAEMON@client.example.com>"
    b"N*To: Postmaster <postmaster@origin.example>"
    b"NHSubject: Postfix SMTP client: errors from mx1.dest.example[192.0.2.1]:25N\x00"
    b"N8Unexpected response from mx1.dest.example[192.0.2.1]:25.N\x00N\x1eTranscript of session follows.N\x00"
    b"N$ In:  220 mx1.dest.example ESMTP labN\x1d Out: EHLO client.example.com"
    b"N\x00N-For other details, see the local mail logfileX\x00E\x00"
)
"""What a running smtp(8) sent, with a shorter transcript."""


def transcript() -> Transcript:
    """A short one."""
    made = Transcript()
    made.heard("220 mx1.dest.example ESMTP lab")
    made.said("EHLO client.example.com")
    return made


def lines_of(message: bytes) -> Iterator[str]:
    """The content of a message."""
    position = message.index(b"\0\0") + 2
    while position < len(message):
        kind, size, shift = message[position : position + 1], 0, 0
        position += 1
        while True:
            octet = message[position]
            position += 1
            size |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                break
        if kind == b"N":
            yield message[position : position + size].decode()
        position += size


class UtcTestCase(SynchronousTestCase):
    """Tests in a time zone that all machines know."""

    zone = "UTC0"

    def setUp(self) -> None:
        """Set the time zone for this test."""
        former = os.environ.get("TZ")

        def restore() -> None:
            if former is None:
                del os.environ["TZ"]
            else:
                os.environ["TZ"] = former
            time.tzset()

        self.addCleanup(restore)
        self.be_in(self.zone)

    def be_in(self, zone: str) -> None:
        """Go to another time zone."""
        os.environ["TZ"] = zone
        time.tzset()


class MessageTests(UtcTestCase):
    """The message."""

    def test_recorded(self) -> None:
        """Octet for octet what smtp(8) sends."""
        self.assertEqual(encode_message(SETTINGS, RELAY, transcript(), "0123456789", NOW), RECORDED)

    def test_obsolete_headers(self) -> None:
        """header_from_format = obsolete; and LMTP, with other names."""
        settings = NoticeSettings(
            ErrorClass.DATA, "h.example", "Näme", "LMTP", "d b@h.example", "post master", FromFormat.OBSOLETE
        )
        lines = list(lines_of(encode_message(settings, "h.example[private/x]", Transcript(), "Q", 0.0)))
        self.assertEqual(
            lines[3:7],
            [
                "From: MAILER-DAEMON@h.example (Mail Delivery System)",
                "To: post master (Postmaster)",
                "Subject: Näme LMTP client: errors from h.example[private/x]",
                "",
            ],
        )

    def test_long_lines(self) -> None:
        """Records of any length."""
        made = Transcript()
        made.heard("x" * 300)
        lines = list(lines_of(encode_message(SETTINGS, RELAY, made, "Q", NOW)))
        self.assertIn(f"     {'x' * 300}", lines)


class DateTests(UtcTestCase):
    """Dates in headers."""

    def test_form(self) -> None:
        """Days have two places, zones a name; the language is that of RFC 5322."""
        self.assertEqual(date_of(1_793_558_127), "Sun,  1 Nov 2026 18:35:27 +0000 (UTC)")
        self.be_in("CET-1CEST,M3.5.0,M10.5.0/3")
        self.assertEqual(date_of(1_782_930_000.9), "Wed,  1 Jul 2026 20:20:00 +0200 (CEST)")
        self.be_in("NST3:30")
        self.assertEqual(date_of(0), "Wed, 31 Dec 1969 20:30:00 -0330 (NST)")


class SettingsTests(SynchronousTestCase):
    """The parameters."""

    def read(self, protocol: str = "smtp", **values: str) -> NoticeSettings:
        """Settings with these parameters."""
        values = {"myhostname": "c.example", **values}
        return NoticeSettings.from_settings(load_settings(None, protocol=protocol, overrides=list(values.items())))

    def test_classes(self) -> None:
        """Of the classes there are, an SMTP client knows two."""
        for text, classes in (
            ("resource, software", ErrorClass.NONE),
            ("protocol", ErrorClass.PROTOCOL),
            ("bounce,data 2bounce", ErrorClass.DATA),
            ("data protocol policy delay", ErrorClass.DATA | ErrorClass.PROTOCOL),
        ):
            self.assertEqual(self.read(notify_classes=text).classes, classes)

    def test_all(self) -> None:
        """Everything ends where it belongs."""
        self.assertEqual(
            self.read(
                "lmtp",
                notify_classes="data",
                mail_name="Other",
                double_bounce_sender="db",
                error_notice_recipient="e@c.example",
                header_from_format="obsolete",
                internal_mail_filter_classes="bounce, notify",
                smtputf8_autodetect_classes="sendmail, notify",
            ),
            NoticeSettings(
                ErrorClass.DATA,
                "c.example",
                "Other",
                "LMTP",
                "db@c.example",
                "e@c.example",
                FromFormat.OBSOLETE,
                32 + 2 + 64 + 512,
            ),
        )

    def test_flags(self) -> None:
        """What cleanup(8) is to do, as recorded."""
        for values, flags in (
            ({}, 32),
            ({"internal_mail_filter_classes": "notify", "smtputf8_autodetect_classes": "all"}, 610),
            ({"smtputf8_autodetect_classes": "notify, bounce"}, 544),
            ({"internal_mail_filter_classes": "bounce"}, 32),
        ):
            self.assertEqual(self.read(notify_classes="protocol", **values).flags, flags)

    def test_unknown_words(self) -> None:
        """A class of mail that there is not is told where it matters; case matters."""
        for name, word in (("internal_mail_filter_classes", "bogus"), ("smtputf8_autodetect_classes", "NOTIFY")):
            self.read(notify_classes="software", **{name: word})
            error = self.assertRaises(ConfigError, self.read, notify_classes="protocol", **{name: word})
            self.assertEqual(error.describe(), f'unknown {name} value "{word}" in "{word}"')


class SendingTests(UtcTestCase):
    """Handing notices to cleanup(8)."""

    version = PostfixVersion(3, 9)
    greeting = b"protocol\0cleanup_protocol\0queue_id\0000123456789\0\0"

    def setUp(self) -> None:
        """A cleanup(8) that takes everything."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.events: list[Event] = []
        self.cleanup = MemoryService(self.greeting)
        client = ServiceClient(
            Service("public/cleanup", Greeting.CLEANUP, GREETING),
            self.cleanup,
            self.version,
            self.clock,
            timeout_seconds=60,
        )
        self.notices = PostmasterNotices(SETTINGS, client, self.clock, self.events.append)

    def send(self, reply: bytes | None) -> None:
        """Send a notice, to which cleanup(8) says this when it has all of it."""
        sent = Deferred.fromCoroutine(self.notices.send(RELAY, transcript()))
        if self.cleanup.connections and reply is not None:
            self.cleanup.connections[-1].say(reply)
        elif self.cleanup.connections:
            self.cleanup.connections[-1].hang_up()
        self.successResultOf(sent)

    def test_wanted(self) -> None:
        """Nothing is wanted about notices and reports themselves; the address counts as it is spelled."""
        for sender, classes in (
            ("s@c.example", ErrorClass.PROTOCOL),
            ("", ErrorClass.NONE),
            ("double-bounce@client.example.com", ErrorClass.NONE),
            ("Double-Bounce@Client.example.com", ErrorClass.PROTOCOL),
            ("double-bounce@origin.example", ErrorClass.PROTOCOL),
        ):
            self.assertEqual(self.notices.wanted(sender), classes, sender)

    def test_sent(self) -> None:
        """One write, once the queue id is known; then the connection is closed."""
        self.send(encode([("status", 0), ("reason", "")]))
        (connection,) = self.cleanup.connections
        self.assertEqual(connection.transport.writes, [RECORDED])
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.events, [])

    def test_refused(self) -> None:
        """A message that cleanup(8) does not take is its own affair."""
        self.send(encode([("status", 1), ("reason", "no")]))
        self.send(encode([("status", 1)]))
        self.assertEqual(self.events, [])

    def test_unreachable(self) -> None:
        """Told as Postfix does."""
        self.cleanup.refusal = ConnectError(2)
        self.send(None)
        problem = "No such file or directory"
        self.assertEqual(self.events, [ServiceUnreachable("public/cleanup", problem), NoticeNotSent(problem)])

    def test_lost(self) -> None:
        """A cleanup(8) that goes away, or that is something else."""
        self.send(None)
        self.assertIsInstance(self.events[0], ServiceConfused)
        self.assertIsInstance(self.events[1], NoticeNotSent)
        self.events.clear()
        self.cleanup.greeting = b"protocol\0other\0queue_id\0x\0\0"
        self.send(None)
        self.assertEqual(len(self.events), 2)


class OldSendingTests(SendingTests):
    """With Postfix 3.5, which does not name its protocols."""

    version = PostfixVersion(3, 5)
    greeting = b"queue_id\0000123456789\0\0"
