"""Tests of twisted_mta.delivery.outgoing: flags of the service, and generic maps, in whole deliveries."""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.content.driving import Answer, complete, generic, table
from tests.delivery.test_any_world import NAMES, AnyWorldTestCase, hosts
from tests.delivery.test_deliver import FIRST, ONE, SECOND, TWO, script
from tests.kit.engine import Engine
from tests.kit.script import Close, Script, Silence, Unasked
from tests.session.shell import PiecewiseContent
from twisted_mta.content.lookups import Asked, Replacement
from twisted_mta.content.scanner import ScannerLimits
from twisted_mta.content.settings import ContentSettings
from twisted_mta.interfaces import ContentError, CorruptContentError, TableError
from twisted_mta.model.request import Recipient
from twisted_mta.session.content_rules import ContentRules

OK = "250 2.0.0 Ok: queued"
TABLE: Mapping[str, str | Replacement | None] = {
    "sender@client.example": "public@client.example",
    "a@d.test": "alias@d.test",
    "o@o.test": "orig@o.test",
    "fail@d.test": None,
}


def rules(**answers: Answer) -> ContentRules:
    """Tables, by the names of Asked."""
    asked: dict[Asked, Callable[[str], Any]] = {Asked[name]: answer for name, answer in answers.items()}
    return ContentRules(
        ContentSettings({key: key.value for key in asked}, ScannerLimits(nesting=1)), {**asked, Asked.REWRITE: complete}
    )


class OutgoingTestCase(SynchronousTestCase):
    """Deliveries to d.test."""

    def wire(self, engine: Engine, address: str = FIRST) -> list[bytes]:
        """The lines of the message that a server got."""
        content: bytes = engine.dialer.servers[address].messages[0].content
        return content.split(b"\r\n")


class FlagTests(OutgoingTestCase):
    """flags=DOR (smtp(8))."""

    def test_headers(self) -> None:
        """They stand in front of the message in this order, with quotes where a local part needs them."""
        engine = Engine({FIRST: script()}, ONE, flags="DOR")
        engine.deliver(Recipient("q r@d.test", original="o@o.test"), nexthop="d.test")
        self.assertEqual(
            self.wire(engine)[:4],
            [
                b"Return-Path: <sender@client.example>",
                b"X-Original-To: o@o.test",
                b'Delivered-To: "q r"@d.test',
                b"Subject: x",
            ],
        )

    def test_empty_addresses(self) -> None:
        """The null sender has angle brackets, an unknown original recipient has nothing."""
        engine = Engine({FIRST: script()}, ONE, flags="RO")
        engine.deliver(Recipient("a@d.test"), nexthop="d.test", sender="")
        self.assertEqual(self.wire(engine)[:2], [b"Return-Path: <>", b"X-Original-To: "])

    def test_size(self) -> None:
        """What is in front does not count."""
        engine = Engine({FIRST: script()}, ONE, flags="DOR")
        engine.deliver("a@d.test", nexthop="d.test", size=49)
        self.assertIn("SIZE=49", engine.commands(FIRST)[0][1])

    def test_several_recipients(self) -> None:
        """D and O work for one recipient; the administrator is told what to set."""
        for flags, letter in (("D", "D"), ("O", "O"), ("RO", "O"), ("DO", "D")):
            engine = Engine({FIRST: script()}, ONE, flags=flags)
            engine.deliver("a@d.test", "b@d.test", nexthop="d.test")
            reason = "4.3.5 deferred (mail system configuration error)"
            self.assertEqual(
                engine.log,
                [
                    f"warning: flag `{letter}' requires agent_destination_recipient_limit = 1",
                    f"a@d.test agent {reason}",
                    f"b@d.test agent {reason}",
                ],
            )
            assert engine.status is not None
            self.assertIsNone(engine.status.hop_status)
            self.assertEqual(engine.commands(FIRST), [])

    def test_several_recipients_of_other_flags(self) -> None:
        """Return-Path is the same for all."""
        engine = Engine({FIRST: script()}, ONE, flags="RX")
        engine.deliver("a@d.test", "b@d.test", nexthop="d.test")
        self.assertEqual(len(self.wire(engine)), 5)

    def test_loop(self) -> None:
        """A message that was delivered to this recipient before is returned, without asking anybody (RFC 9228)."""
        engine = Engine({FIRST: script()}, ONE, flags="D")
        text = b"Received: x\nDelivered-To: A@D.test\n\n"
        engine.deliver("a@d.TEST", nexthop="d.test", content=text)
        self.assertEqual(engine.log, ["a@d.TEST agent 5.4.6 bounced (mail forwarding loop for a@d.TEST)"])
        self.assertEqual(engine.dns.questions, [])

    def test_no_loop(self) -> None:
        """Neither another recipient, nor a header in the body, nor a service without the flag, makes a loop."""
        for flags, text in (
            ("D", b"Delivered-To: b@d.test\n\n"),
            ("D", b"A: 1\n\nDelivered-To: a@d.test\n"),
            ("OR", b"Delivered-To: a@d.test\n\n"),
        ):
            engine = Engine({FIRST: script()}, ONE, flags=flags)
            engine.deliver("a@d.test", nexthop="d.test", content=text)
            self.assertEqual(engine.log, [f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})"])

    def test_unreadable_content(self) -> None:
        """What cannot be read when a loop is looked for is treated as it would be in a session."""
        for error, outcome in (
            (CorruptContentError("damaged"), "5.3.0 bounced (unreadable mail queue entry)"),
            (ContentError("read error"), "4.3.0 deferred (cannot read message content: read error)"),
        ):
            engine = Engine({FIRST: script()}, ONE, flags="D")
            engine.deliver("a@d.test", nexthop="d.test", content=PiecewiseContent([error]))
            self.assertEqual(engine.log, [f"a@d.test none {outcome}"])


class GenericMapTests(OutgoingTestCase):
    """smtp_generic_maps (generic(5))."""

    def test_envelope(self) -> None:
        """Servers hear of other addresses than log, ORCPT and reports."""
        engine = Engine({FIRST: script()}, ONE, content=rules(GENERIC=generic(TABLE)))
        engine.deliver(Recipient("a@d.test", original="a@d.test"), "b@d.test", nexthop="d.test")
        commands = engine.commands(FIRST)[0]
        self.assertTrue(commands[1].startswith("MAIL FROM:<public@client.example> "), commands)
        self.assertEqual([c.split()[1] for c in commands[2:4]], ["TO:<alias@d.test>", "TO:<b@d.test>"])
        self.assertEqual(
            engine.log,
            [
                f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
                f"b@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            ],
        )

    def test_null_sender(self) -> None:
        """It is not looked up."""
        engine = Engine({FIRST: script()}, ONE, content=rules(GENERIC=generic({"": "x@y.test"})))
        engine.deliver("b@d.test", nexthop="d.test", sender="")
        self.assertTrue(engine.commands(FIRST)[0][1].startswith("MAIL FROM:<> "))

    def test_next_host(self) -> None:
        """The next host hears of the same addresses; each is looked up once."""
        asked: list[str] = []

        def look_up(key: str) -> Replacement | None:
            asked.append(key)
            found: Replacement | None = generic(TABLE)(key)
            return found

        engine = Engine(
            {FIRST: script(("RCPT", "450 4.2.0 later")), SECOND: script()}, TWO, content=rules(GENERIC=look_up)
        )
        engine.deliver("a@d.test", nexthop="d.test")
        for address in (FIRST, SECOND):
            self.assertIn("RCPT TO:<alias@d.test>", engine.commands(address)[0])
        self.assertEqual(asked, ["sender@client.example", "a@d.test"])

    def test_flags(self) -> None:
        """The headers of flags have mapped addresses, Return-Path is mapped again, and a loop is one of mapped addresses."""
        table_of_senders = {**TABLE, "public@client.example": "twice@client.example", "alias@d.test": "no@d.test"}
        engine = Engine({FIRST: script()}, ONE, flags="DOR", content=rules(GENERIC=generic(table_of_senders)))
        engine.deliver(Recipient("a@d.test", original="o@o.test"), nexthop="d.test")
        self.assertEqual(
            self.wire(engine)[:3],
            [b"Return-Path: <twice@client.example>", b"X-Original-To: orig@o.test", b"Delivered-To: alias@d.test"],
        )
        engine = Engine({FIRST: script()}, ONE, flags="D", content=rules(GENERIC=generic(TABLE)))
        engine.deliver("a@d.test", nexthop="d.test", content=b"Delivered-To: alias@d.test\n\n")
        self.assertEqual(engine.log, ["a@d.test agent 5.4.6 bounced (mail forwarding loop for a@d.test)"])

    def test_no_server(self) -> None:
        """Where no server is ready for the message, nothing is looked up, and no failure of a table keeps mail back."""
        for servers, zone in (({}, {}), ({FIRST: script(("EHLO", "521 5.3.2 no"), ("HELO", "521 5.3.2 no"))}, ONE)):
            engine = Engine(servers, zone, content=rules(GENERIC=generic(TABLE)))
            engine.deliver("fail@d.test", nexthop="d.test")
            self.assertEqual(len(engine.log), 1)
            self.assertIn("bounced", engine.log[0])

    def test_failure_in_the_envelope(self) -> None:
        """An envelope address that cannot be mapped defers the mail; the server is told nothing of it, nor is another one."""
        engine = Engine({FIRST: script(), SECOND: script()}, TWO, content=rules(GENERIC=generic(TABLE)))
        engine.deliver("a@d.test", "fail@d.test", nexthop="d.test")
        reason = "4.3.0 deferred (smtp_generic_maps map lookup problem for fail@d.test)"
        self.assertEqual(
            engine.log,
            [
                "warning: 4Abc12: smtp_generic_maps map lookup problem for fail@d.test",
                f"a@d.test none {reason}",
                f"fail@d.test none {reason}",
            ],
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])
        self.assertEqual(engine.commands(SECOND), [])

    def test_failure_in_a_header(self) -> None:
        """One in a header ends the session without an end of the content; no other host is asked, and nothing bounces."""
        engine = Engine({FIRST: script(), SECOND: script()}, TWO, content=rules(GENERIC=generic(TABLE)))
        engine.deliver("b@d.test", nexthop="d.test", content=b"To: fail@d.test\n\n")
        self.assertEqual(
            engine.log[1:], ["b@d.test none 4.3.0 deferred (smtp_generic_maps map lookup problem for fail@d.test)"]
        )
        self.assertEqual(engine.dialer.servers[FIRST].messages, [])
        self.assertEqual(engine.commands(SECOND), [])

    def test_failure_is_told_before_goodbye(self) -> None:
        """The mail is deferred even if the server never says goodbye."""
        servers = {FIRST: script(("QUIT", Silence()))}
        engine = Engine(servers, ONE, await_quit_reply=True, content=rules(GENERIC=generic(TABLE)))
        engine.start("fail@d.test", nexthop="d.test")
        engine.turn()
        reason = "4.3.0 deferred (smtp_generic_maps map lookup problem for fail@d.test)"
        self.assertEqual(engine.log[1:], [f"fail@d.test none {reason}"])
        self.assertIsNone(engine.status)
        engine.wait(304)
        self.assertIsNotNone(engine.status)
        self.assertEqual(len(engine.log), 2)

    def test_failure_over_a_kept_session(self) -> None:
        """The session is not kept any longer, and the mail is deferred."""
        maps = rules(GENERIC=generic(TABLE))
        engine = Engine({FIRST: script()}, ONE, reuse={"listed": lambda name: True}, content=maps)
        engine.deliver("b@d.test", nexthop="d.test")
        engine.deliver("fail@d.test", nexthop="d.test")
        reason = "4.3.0 deferred (smtp_generic_maps map lookup problem for fail@d.test)"
        self.assertEqual(engine.log[-1], f"fail@d.test none {reason}")
        (commands,) = engine.commands(FIRST)
        self.assertEqual(commands[-2:], [".", "QUIT"])
        self.assertEqual(len(engine.pool), 0)


class SlowTableTests(OutgoingTestCase):
    """A table may take its time, while a server is ready for the message."""

    def setUp(self) -> None:
        """A table that answers when told to."""
        self.waiting: list[Deferred[Replacement | None]] = []

    def engine(self, first: Script) -> Engine:
        """An engine with two servers, the first one by a script."""

        def look_up(key: str) -> Deferred[Replacement | None]:
            self.waiting.append(Deferred())
            return self.waiting[-1]

        return Engine({FIRST: first, SECOND: script()}, TWO, content=rules(GENERIC=look_up))

    def answer(self) -> None:
        """Answer for a sender, who is not in the table, and for a recipient."""
        self.waiting[0].callback(None)
        self.waiting[1].callback(Replacement("alias@d.test"))

    def test_delivery(self) -> None:
        """The message goes out with what the table says."""
        engine = self.engine(script())
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test"]])
        self.answer()
        engine.turn()
        self.successResultOf(done)
        self.assertIn("RCPT TO:<alias@d.test>", engine.commands(FIRST)[0])

    def test_cancelled(self) -> None:
        """A delivery that waits for a table can be cancelled, and closes the connection."""
        engine = self.engine(script())
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        self.assertEqual(len(self.waiting), 1)
        done.cancel()
        engine.turn()
        self.successResultOf(done)
        self.assertEqual(engine.log, ["a@d.test none 4.3.0 deferred (delivery was ended before it was complete)"])
        (session,) = engine.dialer.servers[FIRST].sessions
        self.assertEqual((session.commands, session.open), (["EHLO client.test"], False))
        self.assertEqual(engine.commands(SECOND), [])

    def test_server_does_not_wait(self) -> None:
        """If the server hangs up meanwhile, the next one gets the message, and nothing is looked up again."""
        engine = self.engine(script(("EHLO", Unasked(5, Close("421 4.4.2 too slow")))))
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        engine.wait(10)
        self.answer()
        engine.turn()
        self.successResultOf(done)
        self.assertEqual(len(self.waiting), 2)
        self.assertEqual(engine.log[-1], f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})")
        self.assertIn("RCPT TO:<alias@d.test>", engine.commands(SECOND)[0])


class AnyTableTests(AnyWorldTestCase):
    """Properties of deliveries with tables that take their time, or fail, with servers that do what they like."""

    def engine(self, data: st.DataObject) -> Engine:
        """Two servers, and a table; sessions may be kept."""
        clocks: list[Clock] = []
        waits = st.sampled_from([0, 0, 3, 200])
        found = st.sampled_from([None, None, Replacement("alias@d.test"), TableError("fail:it", "it fails", "key")])
        answers = data.draw(st.lists(st.tuples(waits, found), min_size=1, max_size=4))

        def look_up(key: str) -> Replacement | Deferred[Replacement | None] | None:
            seconds, outcome = answers[0]
            answers.append(answers.pop(0))

            def answer() -> Replacement | None:
                if isinstance(outcome, TableError):
                    raise outcome
                return outcome

            return deferLater(clocks[0], seconds, answer) if seconds else answer()

        engine = Engine(
            {FIRST: data.draw(hosts(False)), SECOND: data.draw(hosts(False))},
            TWO,
            content=rules(GENERIC=look_up),
            flags=data.draw(st.sampled_from(["", "R"])),
            reuse=data.draw(st.sampled_from([None, {"listed": lambda name: True}])),
            await_quit_reply=data.draw(st.booleans()),
        )
        clocks.append(engine.clock)
        return engine

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_one_result_each(self, data: st.DataObject) -> None:
        """Each recipient of each message has one result, and nothing is left over."""
        engine = self.engine(data)
        for _ in range(2):
            engine.reporter.results.clear()
            engine.status = None
            self.check(engine, NAMES, self.run_to_its_end(engine, NAMES))
            self.assert_nothing_is_open(engine)

    @settings(max_examples=60, deadline=None)
    @given(st.data(), st.integers(0, 12))
    def test_cancelled_at_any_time(self, data: st.DataObject, turns: int) -> None:
        """So it is if the delivery is cancelled in the middle."""
        engine = self.engine(data)
        done = engine.start(*NAMES, nexthop="d.test")
        for _ in range(turns):
            engine.clock.advance(1)
        done.cancel()
        engine.turn()
        assert engine.status is not None
        self.check(engine, NAMES, engine.status.complete)
        engine.wait(1000)
        self.assertEqual(engine.clock.getDelayedCalls(), [])
        self.assert_nothing_is_open(engine)

    def assert_nothing_is_open(self, engine: Engine) -> None:
        """All connections have come to an end."""
        servers = engine.dialer.servers.values()
        self.assertFalse(any(session.open for server in servers for session in server.sessions))


class FailureTests(OutgoingTestCase):
    """Content that cannot be sent as it must be."""

    def test_check_table(self) -> None:
        """A check table that fails is tried with the next host, and holds the destination back."""
        engine = Engine(
            {FIRST: script(), SECOND: script()}, TWO, content=rules(HEADER_CHECKS=table({"Subject: x": None}))
        )
        engine.deliver("a@d.test", nexthop="d.test")
        failed = next(line for line in engine.log if "lookup error" in line)
        self.assertTrue(failed.endswith(": smtp header checks lookup error"))
        reason = "local data error while talking to h1.test[10.0.0.1]"
        self.assertEqual(engine.log[-1], f"a@d.test h1.test[10.0.0.1]:25 4.3.0 deferred ({reason})")
        assert engine.status is not None
        assert engine.status.hop_status is not None
        self.assertEqual(engine.status.hop_status.reason, reason)

    def test_nesting(self) -> None:
        """Parts that are nested too deeply for a server without 8BITMIME: the mail is returned, the destination is well."""
        text = b"Content-Type: multipart/mixed" + b"; boundary=b" * 4 + b"\n\n"
        ehlo = ("EHLO", "250-h.test\r\n250 PIPELINING")
        for soft_bounce, outcome in ((False, "bounced"), (True, "bounced")):
            engine = Engine({FIRST: script(ehlo)}, ONE, content=rules(), soft_bounce=soft_bounce)
            engine.deliver("a@d.test", nexthop="d.test", content=text, encoding="8bit")
            self.assertEqual(
                engine.log,
                [f"a@d.test h2.test[10.0.0.2]:25 5.6.0 {outcome} (MIME nesting exceeds safety limit)"],
            )
            self.assertEqual(engine.dialer.servers[FIRST].messages, [])
