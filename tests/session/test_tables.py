"""Tables that sessions ask: reply filters, and what is asked about a server's address."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.dialog import PEER
from tests.kit.lookup_tables import AtOnce, SlowTable
from tests.session.shell import ShellTestCase
from twisted_mta.config.settings import load_settings
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model import events
from twisted_mta.model.events import Event
from twisted_mta.session.filtering import UNREAD_OCTETS_LIMIT
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.session import Session
from twisted_mta.session.tables import SessionTables
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, ErrorClass, PeerTable
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.greeting import Occasion, Rebuff, greet
from twisted_mta.smtp.workarounds import PixWorkarounds
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet

OCCASION = Occasion("4Abc12", 1000.0)


class FakeTablesTests(SynchronousTestCase):
    """The tables of these tests."""

    def test_interface(self) -> None:
        """They are lookup tables."""
        verifyObject(ILookupTable, SlowTable())
        verifyObject(ILookupTable, AtOnce({}))


def opened(emit: Any, protocol: str = "smtp", **parameters: str) -> SessionTables:
    """The tables that these parameters name."""
    context = TableContext(lambda name: None, Path("/"), Path("/nonexistent"), emit)
    overrides = [("myhostname", "client.example"), *parameters.items()]
    return SessionTables.from_settings(load_settings(None, protocol=protocol, overrides=overrides), TableSet(context))


class OpeningTests(SynchronousTestCase):
    """From parameters to tables."""

    def test_nothing(self) -> None:
        """By default nothing is asked."""
        found: list[Event] = []
        tables = opened(found.append)
        self.assertIsNone(tables.reply_filter)
        self.assertEqual(tables.about_peers, {})

    def test_lmtp_names(self) -> None:
        """lmtp(8) has a name of its own for the keywords."""
        found: list[Event] = []
        tables = opened(found.append, "lmtp", lmtp_discard_lhlo_keyword_address_maps="inline:{k=DSN}")
        maps = tables.about_peers[PeerTable.DISCARDED_KEYWORDS]
        self.assertEqual(maps.parameter, "lmtp_discard_lhlo_keyword_address_maps")

    def test_filter_is_folded(self) -> None:
        """A reply filter of fixed keys does not care for case (postconf(5) smtp_reply_filter)."""
        found: list[Event] = []
        table = opened(found.append, smtp_reply_filter="inline:{ { no = 450 not now } }").reply_filter
        assert table is not None
        self.assertEqual(table.lookup("NO"), "450 not now")

    def test_unknown_type(self) -> None:
        """A table of a type that nobody knows is there, but answers nothing but errors."""
        found: list[Event] = []
        table = opened(found.append, smtp_reply_filter="nonsense:x").reply_filter
        assert table is not None
        self.assertRaises(TableError, table.lookup, "250 ok")


class FilterTestCase(ShellTestCase):
    """A connection with a reply filter."""

    def filtering(self, table: Any) -> None:
        """Connect anew, and filter replies."""
        self.connect()
        self.protocol.ask(SessionTables(table))


class ReplyFilterTests(FilterTestCase):
    """Lines are replaced as they are read (postconf(5) smtp_reply_filter)."""

    def test_replaced(self) -> None:
        """The new line counts, and the log tells."""
        self.filtering(AtOnce({"550 5.7.1 greylisted": "450 4.7.1 greylisted"}))
        self.transact()
        self.client()
        self.server("250 ok", "550 5.7.1 greylisted", "554 no recipients")
        refused = "0 failed: 4.7.1 host mx.example[192.0.2.1] said: 450 4.7.1 greylisted (in reply to RCPT TO command)"
        self.assertEqual(self.outcomes, [refused])
        replaced = events.ReplyReplaced(PEER.relay, "550 5.7.1 greylisted", "450 4.7.1 greylisted")
        self.assertEqual(self.events, [replaced])

    def test_each_line_of_a_reply(self) -> None:
        """What EHLO offers is filtered line by line; a continued line can become the last one, and the reverse."""
        self.filtering(AtOnce({"250-CHUNKING": "250-DSN", "250 HELP": "250-HELP"}))
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("220 mx.example", "250-mx.example", "250-CHUNKING", "250 HELP")
        self.assertNoResult(done)
        self.server("250 SIZE")
        welcome = self.successResultOf(done)
        assert not isinstance(welcome, Rebuff)
        self.assertEqual(welcome.capabilities.features, Feature.ESMTP | Feature.DSN | Feature.SIZE)

    def test_censored_before(self) -> None:
        """The filter sees a line as the log would."""
        self.filtering(AtOnce({"550 a?b": "450 later"}))
        self.transact()
        self.server("550 a\tb")
        self.assertEqual(self.outcomes[0][:20], "all failed: 4.0.0 ho")

    def test_unread_replies_are_not_asked_for(self) -> None:
        """The reply to QUIT is not read, so nothing is logged of it (RFC 5321 section 4.1.1.10)."""
        self.filtering(AtOnce({"221 bye": "221 see you"}))
        done = self.transact()
        self.client()
        self.server("250 ok", "250 ok", "354 go")
        self.client()
        self.server("250 taken", "221 bye")
        self.successResultOf(done)
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 taken"])
        self.assertEqual(self.events, [])

    def test_replaced_by_garbage(self) -> None:
        """What is no reply line is garbage, wherever it comes from."""
        self.filtering(AtOnce({"250 ok": "fine"}))
        self.transact()
        self.server("250 ok", "250 yes")
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.PROTOCOL)

    def test_early_reply_stays_early(self) -> None:
        """A 2xx that comes before the dot has left is no delivery, whoever looks at it."""
        for table in (AtOnce({}), AtOnce({"250 taken": "250 replaced"})):
            self.filtering(table)
            done = self.transact()
            self.client()
            self.server("250 ok", "250 ok", "354 go", "250 taken")
            self.assertIn("while sending message body", self.broken(done))

    def test_early_within_content(self) -> None:
        """The same while the content is on its way."""
        self.filtering(AtOnce({}))
        done = self.transact(b"x" * 60 + b"\n")
        self.client()
        self.server("250 ok", "250 ok", "354 go")
        self.server("250 taken")
        self.assertIn("while sending message body", self.broken(done))

    def test_ahead_of_all_measure(self) -> None:
        """A server that talks on while nobody reads is cut off."""
        self.filtering(AtOnce({}))
        for _ in range(UNREAD_OCTETS_LIMIT // 64 // 500 + 1):
            self.server(*["250 ok"] * 500)
        self.assertIn(events.ReplyEndless(PEER.relay), self.events)
        self.assertFalse(self.transport.reading)


class SlowFilterTests(FilterTestCase):
    """Tables that must be waited for."""

    def setUp(self) -> None:
        """Connect."""
        self.table = SlowTable()
        self.filtering(self.table)

    def test_in_order(self) -> None:
        """One line is asked for at a time, and nothing is overtaken."""
        done = self.transact()
        self.server("250 a", "250 b", "354 c")
        keys = []
        for value in (None, "550 5.1.1 unknown", "554 none"):
            self.assertEqual(len(self.table.asked), 1)
            self.assertNoResult(done)
            keys.append(self.table.answer(value))
        self.assertEqual(keys, ["250 a", "250 b", "354 c"])
        unknown = "0 failed: 5.1.1 host mx.example[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)"
        self.assertEqual(self.outcomes, [unknown])

    def test_end_of_input_waits_for_the_answer(self) -> None:
        """A server that has closed its side has still said what it said."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("554 no")
        self.transport.receive_end()
        self.assertNoResult(done)
        self.table.answer(None)
        self.assertIsInstance(self.successResultOf(done), Rebuff)

    def test_end_of_input_in_a_partial_reply(self) -> None:
        """If that was not a reply, the connection is lost."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("554-no")
        self.transport.receive_end()
        self.table.answer(None)
        self.assertIn("lost connection", self.broken(done))

    def test_time_limit(self) -> None:
        """The time limit of the phase goes on, and ends the waiting."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("220 mx.example")
        self.clock.advance(300)
        self.assertIn("timed out", self.broken(done))
        self.protocol.abort()
        self.assertEqual(self.table.cancelled, 1)
        self.idle()

    def test_cancelled(self) -> None:
        """Cancelling the dialog cancels the lookup."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("220 mx.example")
        done.cancel()
        self.failureResultOf(done)
        self.assertEqual(self.table.cancelled, 1)
        self.idle()

    def test_failure(self) -> None:
        """A table that fails later is as bad as one that fails at once."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("220 mx.example")
        self.table.fail(TableError("slow:table", "gone"))
        self.assertEqual(self.broken(done), "local data error while talking to mx.example[192.0.2.1]")
        self.assertEqual(self.events, [events.ReplyFilterFailed("4Abc12", "slow:table", "220 mx.example")])


class SplitTests(FilterTestCase):
    """However the octets come, and however the table answers, the result is the same."""

    @given(
        st.lists(
            st.sampled_from(["250 ok", "250-a", "550 no", "354 go", "junk", "421 bye", "250 \xe9\t"]), max_size=12
        ),
        st.dictionaries(
            st.sampled_from(["250 ok", "250-a", "354 go", "junk"]), st.sampled_from(["250 x", "550 y", "z"])
        ),
        st.integers(1, 40),
    )
    @settings(max_examples=60, deadline=None)
    def test_split(self, lines: list[str], values: dict[str, str], size: int) -> None:
        """Whole, in pieces, at once or by Deferreds that have fired: the same findings, events and words."""
        data = "".join(f"{line}\r\n" for line in lines).encode()
        seen = set()
        for table, step in ((AtOnce(values), size), (AtOnce(values, deferred=True), size)):
            self.filtering(table)
            done = self.transact()
            said = [self.client()]
            for begin in range(0, len(data), step):
                self.transport.receive(data[begin : begin + step])
                said.append(self.client())
            self.transport.receive_end()
            done.addErrback(lambda failure: failure.trap(ConnectionBrokenError) and None)
            seen.add((tuple(self.outcomes), tuple(map(str, self.events)), "".join(said)))
        self.assertEqual(len(seen), 1)


class FilterFailureTests(FilterTestCase):
    """Nobody can tell what the server says."""

    def broken_filter(self, error: Exception) -> Session:
        """A session whose filter fails for one line."""
        self.filtering(AtOnce({"550 why": error}))
        return Session(self.protocol, self.settings)

    def greeted(self, session: Session) -> ConnectionBrokenError:
        """The error that ends the greeting."""
        done = Deferred.fromCoroutine(session.greet(OCCASION))
        self.server("550 why")
        error = self.failureResultOf(done, ConnectionBrokenError).value
        assert isinstance(error, ConnectionBrokenError)
        return error

    def test_in_the_greeting(self) -> None:
        """Before any mail, QUIT is still said; the postmaster may hear of it, and of what the server said."""
        session = self.broken_filter(TableError("at:once", "broken"))
        transcript = Transcript()
        self.protocol.incoming.ear = Ear([transcript], 2048)
        error = self.greeted(session)
        self.assertEqual(list(transcript.lines()), [" In:  550 why", " Out: QUIT"])
        self.assertEqual(error.why(PEER).status, "4.3.0")
        self.assertEqual(self.client(), "QUIT\r\n")
        self.assertEqual(session.troubles, ErrorClass.DATA)
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "closed")
        self.assertEqual(self.events, [events.ReplyFilterFailed("4Abc12", "slow:table", "550 why")])

    def test_in_the_transaction(self) -> None:
        """Later nothing more is said."""
        self.broken_filter(TableError("at:once", "broken"))
        done = self.transact()
        self.client()
        self.server("250 ok", "550 why")
        self.assertEqual(self.broken(done), "local data error while talking to mx.example[192.0.2.1]")
        self.assertEqual(self.client(), "")

    def test_defect(self) -> None:
        """A table with a defect fails, too, and the defect is told."""
        error = self.greeted(self.broken_filter(ZeroDivisionError("oops")))
        self.assertIs(error.breakage, Breakage.LOCAL_ERROR)
        self.assertIn(events.TableWarning("slow:table: ZeroDivisionError('oops')"), self.events)


class PeerTablesTests(ShellTestCase):
    """What is asked by the server's address."""

    def greeting(self, lines: Sequence[str], **parameters: str) -> Any:
        """The outcome of a greeting, with the tables of parameters."""
        self.connect(
            replace(
                self.SETTINGS,
                discard=frozenset({"dsn"}),
                asks_discard_maps="smtp_discard_ehlo_keyword_address_maps" in parameters,
                asks_pix_maps="smtp_pix_workaround_maps" in parameters,
            )
        )
        self.protocol.ask(opened(self.events.append, **parameters))
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server(*lines)
        return self.successResultOf(done)

    OFFER = ("220 mx.example", "250-mx.example", "250-DSN", "250-SIZE", "250 PIPELINING")
    PIX = ("220 ****", "250 mx.example")

    def test_discarded_for_an_address(self) -> None:
        """What the table says takes the place of the parameter, in any case and with any separators."""
        table = "inline:{ { 192.0.2.1 = Size,PIPELINING  nonsense } }"
        welcome = self.greeting(self.OFFER, smtp_discard_ehlo_keyword_address_maps=table)
        self.assertEqual(welcome.capabilities.features, Feature.ESMTP | Feature.DSN)
        self.assertEqual(self.events, [events.EhloKeywordsDiscarded("PIPELINING SIZE")])

    def test_another_address(self) -> None:
        """Where the table says nothing, the parameter counts."""
        table = "inline:{ 192.0.2.2=size }"
        welcome = self.greeting(self.OFFER, smtp_discard_ehlo_keyword_address_maps=table)
        self.assertEqual(welcome.capabilities.features, Feature.ESMTP | Feature.SIZE | Feature.PIPELINING)

    def test_no_answer(self) -> None:
        """A table that fails ends the session, behind the reply to EHLO."""
        self.connect(replace(self.SETTINGS, asks_discard_maps=True))
        self.protocol.ask(opened(self.events.append, smtp_discard_ehlo_keyword_address_maps="fail:me"))
        done = Deferred.fromCoroutine(Session(self.protocol, self.settings).greet(OCCASION))
        self.server(*self.OFFER)
        self.assertEqual(self.broken(done), "local data error while talking to mx.example[192.0.2.1]")
        self.assertEqual(self.client(), "EHLO client.example\r\nQUIT\r\n")
        failed = events.PeerTableFailed("4Abc12", "smtp_discard_ehlo_keyword_address_maps", "192.0.2.1")
        self.assertEqual(self.events[-1], failed)

    def test_pix_for_an_address(self) -> None:
        """Workarounds for one firewall."""
        welcome = self.greeting(self.PIX, smtp_pix_workaround_maps="inline:{ 192.0.2.1=delay_dotcrlf }")
        self.assertEqual(welcome.pix, PixWorkarounds(delay_dot=True))
        self.assertEqual(self.client(), "EHLO client.example\r\n")

    def test_no_workarounds_for_an_address(self) -> None:
        """Words without meaning turn all of them off; the log says that what is left of them is enabled."""
        welcome = self.greeting(self.PIX, smtp_pix_workaround_maps="inline:{ 192.0.2.1=none }")
        self.assertEqual(welcome.pix, PixWorkarounds())
        told = events.PixWorkaroundsEnabled("4Abc12", "", "mx.example[192.0.2.1]:25")
        self.assertEqual(self.events, [told, events.EhloKeywordsDiscarded("DSN")])

    def test_pix_table_fails(self) -> None:
        """Then the parameter counts."""
        welcome = self.greeting(self.PIX, smtp_pix_workaround_maps="fail:me")
        self.assertEqual(welcome.pix, PixWorkarounds(disable_esmtp=True, delay_dot=True))

    def test_pix_is_not_asked_for_others(self) -> None:
        """An honest greeting asks no table."""
        self.greeting(self.OFFER, smtp_pix_workaround_maps="fail:me")
        self.assertEqual(self.events, [events.EhloKeywordsDiscarded("DSN")])


class SlowPeerTablesTests(ShellTestCase):
    """Tables about servers that must be waited for."""

    def setUp(self) -> None:
        """Come as far as the question."""
        self.connect(replace(self.SETTINGS, asks_discard_maps=True))
        self.table = SlowTable()
        maps = Maps("smtp_discard_ehlo_keyword_address_maps", [self.table], self.events.append)
        self.protocol.ask(SessionTables(None, {PeerTable.DISCARDED_KEYWORDS: maps}))
        self.done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("220 mx.example", "250-mx.example", "250 DSN")
        self.assertNoResult(self.done)

    def test_answer(self) -> None:
        """The dialog goes on with the answer."""
        self.assertEqual(self.table.answer("dsn"), "192.0.2.1")
        welcome = self.successResultOf(self.done)
        assert not isinstance(welcome, Rebuff)
        self.assertEqual(welcome.capabilities.features, Feature.ESMTP)

    def test_failure(self) -> None:
        """The dialog ends."""
        self.table.fail(TableError("slow:table", "gone"))
        self.assertIn("local data error", self.broken(self.done))

    def test_cancelled(self) -> None:
        """Cancelling the dialog cancels the lookup."""
        self.done.cancel()
        self.failureResultOf(self.done)
        self.assertEqual(self.table.cancelled, 1)
        self.idle()
