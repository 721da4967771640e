"""Tests of twisted_mta.observe.maillog."""

import string
from dataclasses import fields, replace
from typing import get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Event, RecipientLogged, Severity
from twisted_mta.model.request import MessageStats, Recipient
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.model.text import to_text
from twisted_mta.observe.maillog import LONGEST_TEXT, TEMPLATES, LogStyle, line_of, shorten

STYLE = LogStyle()
STATS = MessageStats(10**15, 10**15 + 100_000, 10**15 + 110_000, 10**15 + 610_000, 10**15 + 1_210_000)
DELAYS = "delay=1.2, delays=0.1/0.01/0.5/0.6"
MX = "mx1.dest.example[192.0.2.1]:25"

KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def logged(
    address: str, relay: str, status: str, word: str, reason: str, original: str = "", uses: int = 1
) -> RecipientLogged:
    """A delivery that ended."""
    stats = replace(STATS, reuse_count=uses - 1)
    result = RecipientResult(
        Recipient(address, original or address), Fate.SENT, DsnStatus(status, reason), relay, stats
    )
    return RecipientLogged("Q1", result, word)


class DeliveryLineTests(SynchronousTestCase):
    """The line of each recipient."""

    def test_recorded(self) -> None:
        """As a running Postfix logs it."""
        said = "host mx1.dest.example[192.0.2.1] said:"
        for event, line in (
            (
                logged("r@dest.example", MX, "2.0.0", "sent", "250 2.0.0 Ok: queued as LAB1"),
                f"Q1: to=<r@dest.example>, relay={MX}, {DELAYS}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as LAB1)",
            ),
            (
                logged("r@dest.example", "none", "5.4.6", "bounced", "mail for dest.example loops back to myself"),
                f"Q1: to=<r@dest.example>, relay=none, {DELAYS}, dsn=5.4.6, status=bounced"
                " (mail for dest.example loops back to myself)",
            ),
            (
                logged(
                    "r@dest.example",
                    MX,
                    "4.1.1",
                    "SOFTBOUNCE",
                    f"{said} 550 5.1.1 unknown (in reply to RCPT TO command)",
                ),
                f"Q1: to=<r@dest.example>, relay={MX}, {DELAYS}, dsn=4.1.1, status=SOFTBOUNCE"
                f" ({said} 550 5.1.1 unknown (in reply to RCPT TO command))",
            ),
            (
                logged("real@dest.example", MX, "5.1.1", "bounced", f"{said} 550 5.1.1 unknown", "alias@alias.example"),
                f"Q1: to=<real@dest.example>, orig_to=<alias@alias.example>, relay={MX}, {DELAYS}, dsn=5.1.1,"
                f" status=bounced ({said} 550 5.1.1 unknown)",
            ),
            (
                logged("grey@dest.example", MX, "4.2.0", "deferred", f"{said} 450 4.2.0 later", uses=3),
                f"Q1: to=<grey@dest.example>, relay={MX}, conn_use=3, {DELAYS}, dsn=4.2.0, status=deferred"
                f" ({said} 450 4.2.0 later)",
            ),
            (
                logged("r@dest.example", "client.example.com[private/lmtpd]", "2.1.5", "deliverable", "250 2.1.5 Ok"),
                f"Q1: to=<r@dest.example>, relay=client.example.com[private/lmtpd], {DELAYS}, dsn=2.1.5,"
                " status=deliverable (250 2.1.5 Ok)",
            ),
        ):
            self.assertEqual(line_of(event, STYLE), (Severity.INFO, line))

    def test_quoted_addresses(self) -> None:
        """Local parts are quoted as in a header."""
        for address, shown in (
            ("a b@dest.example", '"a b"@dest.example'),
            ('a"b@dest.example', r'"a\"b"@dest.example'),
            ("a.b.@dest.example", '"a.b."@dest.example'),
            ("", ""),
        ):
            text = line_of(logged(address, MX, "2.0.0", "sent", "ok"), STYLE)[1]
            self.assertTrue(text.startswith(f"Q1: to=<{shown}>, relay="), text)

    def test_internal_addresses(self) -> None:
        """With info_log_address_format = internal they are shown as they are."""
        text = line_of(logged("a b@dest.example", MX, "2.0.0", "sent", "ok", "c d@x"), LogStyle(quote_addresses=False))[
            1
        ]
        self.assertTrue(text.startswith("Q1: to=<a b@dest.example>, orig_to=<c d@x>, relay="), text)

    def test_original_address(self) -> None:
        """It is shown only if it differs by more than case."""
        text = line_of(logged("r@dest.example", MX, "2.0.0", "sent", "ok", "R@Dest.Example"), STYLE)[1]
        self.assertNotIn("orig_to", text)

    def test_decimals(self) -> None:
        """delay_logging_resolution_limit counts."""
        text = line_of(logged("r@dest.example", MX, "2.0.0", "sent", "ok"), LogStyle(delay_decimals=0))[1]
        self.assertIn("delay=1, delays=0/0/1/1,", text)


class OtherLineTests(SynchronousTestCase):
    """The lines of all other events."""

    def test_recorded(self) -> None:
        """As a running Postfix logs them."""
        for event, severity, text in (
            (events.BadContentRecord("Q1", 81), Severity.WARNING, "Q1: bad record type: 81 in message content"),
            (events.QueueFileCorrupt("active/Q1"), Severity.WARNING, "corrupted queue file: active/Q1"),
            (
                events.RecordDamaged("active/Q1", "unexpected EOF in data, record type 78 length 32"),
                Severity.WARNING,
                "active/Q1: unexpected EOF in data, record type 78 length 32",
            ),
            (
                events.ServiceUnreachable("private/nosuch", "No such file or directory"),
                Severity.WARNING,
                "connect to private/nosuch: No such file or directory",
            ),
            (events.ServiceFailed("Q1", "trace"), Severity.WARNING, "Q1: trace service failure"),
            (
                events.WrongStatusClass("defer_append", "5.7.1"),
                Severity.WARNING,
                'defer_append: ignoring dsn code "5.7.1"',
            ),
            (events.HostSkipped("Q1", "some reason"), Severity.INFO, "Q1: some reason"),
        ):
            self.assertEqual(line_of(event, STYLE), (severity, text))

    def test_every_event_has_a_line(self) -> None:
        """Each event has a row, and each row names fields of its event only."""
        for kind in KINDS:
            if kind is RecipientLogged:
                continue
            used = {name for _, name, _, _ in string.Formatter().parse(TEMPLATES[kind][1]) if name is not None}
            self.assertLessEqual(used, {field.name for field in fields(kind)}, kind)

    def test_foreign_text(self) -> None:
        """What a server says cannot forge lines, nor braces templates."""
        text = line_of(events.HostSkipped("Q1", "a\r\nb\x1b[0m {queue_id} \udcff"), STYLE)[1]
        self.assertEqual(text, "Q1: a??b?[0m {queue_id} ?")

    def test_utf8(self) -> None:
        """Text in UTF-8 is shown only if SMTPUTF8 is enabled."""
        event = events.HostSkipped("Q1", "grün")
        self.assertEqual(line_of(event, STYLE)[1], "Q1: grün")
        self.assertEqual(line_of(event, LogStyle(utf8=False))[1], "Q1: gr??n")


# Text from outside comes through to_text: any character, and surrogates for octets that are no UTF-8.
TEXTS = (
    st.text(max_size=60)
    | st.binary(max_size=60).map(to_text)
    | st.sampled_from(["x" * 3000, "ü" * 1001, "\r\n", "{0}", "{"])
)
NUMBERS = st.integers(0, 2**64)


def values_of(hint: object) -> st.SearchStrategy[object]:
    """Any value for a field of this type."""
    strategies: dict[object, st.SearchStrategy[object]] = {str: TEXTS, int: NUMBERS, RecipientResult: results()}
    return strategies[hint]


def results() -> st.SearchStrategy[RecipientResult]:
    """Any result, sensible or not."""
    stats = st.builds(MessageStats, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
    dsn = st.builds(DsnStatus, TEXTS, TEXTS)
    return st.builds(RecipientResult, st.builds(Recipient, TEXTS, TEXTS), st.sampled_from(Fate), dsn, TEXTS, stats)


def any_event() -> st.SearchStrategy[Event]:
    """Any event with any text in it."""
    return st.one_of(
        [st.builds(kind, **{name: values_of(hint) for name, hint in get_type_hints(kind).items()}) for kind in KINDS]
    )


class AnyLineTests(SynchronousTestCase):
    """What holds for all lines."""

    @given(any_event(), st.builds(LogStyle, st.booleans(), st.integers(0, 6), st.booleans()))
    @settings(deadline=None, max_examples=300)
    def test_printable_and_short(self, event: Event, style: LogStyle) -> None:
        """Each line is printable, and no longer than Postfix's."""
        _, text = line_of(event, style)
        self.assertLessEqual(len(text.encode("utf-8")), LONGEST_TEXT)
        self.assertTrue(all(c.isprintable() or c in "\xa0\u3000" for c in text), ascii(text))
        self.assertTrue(style.utf8 or text.isascii())

    def test_cut_between_characters(self) -> None:
        """A character is shown whole, or not at all."""
        self.assertEqual(shorten("x" * 1999 + "üü"), "x" * 1999)
        self.assertEqual(shorten("x" * 1998 + "üü"), "x" * 1998 + "ü")
        self.assertEqual(shorten("x" * 2000), "x" * 2000)
        self.assertEqual(shorten("x" * 2001), "x" * 2000)
