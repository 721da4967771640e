"""A message that is offered to one server: what was observed of smtp(8), and what goes wrong."""

from dataclasses import replace

from tests.delivery.test_deliver import (
    FIRST,
    OK,
    ONE,
    SECOND,
    TWO,
    DeliverTestCase,
    hosts,
    script,
)
from tests.kit.engine import Engine
from tests.kit.script import Close, Raw, Reset, Silence
from tests.session.shell import PiecewiseContent
from twisted_mta.interfaces import ContentError, CorruptContentError
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import Recipient, RequestFlags, SmtpUtf8
from twisted_mta.model.result import Fate, FinalStatus


class ServerTests(DeliverTestCase):
    """What one server says, and how it breaks off."""

    def test_rebuff_by_the_only_host(self) -> None:
        """At the only host it defers, with the server's words, and holds the destination back."""
        reason = "host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away"
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", "554 5.7.1 go away"))}, ONE),
            f"a@d.test h2.test[10.0.0.2]:25 4.7.1 deferred ({reason})",
        )
        wanted = DsnStatus("4.7.1", reason, "", "smtp", "554 5.7.1 go away", "dns", "h2.test")
        self.assertEqual(engine.reporter.results[0].dsn, wanted)
        self.assertEqual(engine.status, FinalStatus(False, wanted))

    def test_rebuff_for_good(self) -> None:
        """Without smtp_skip_5xx_greeting it bounces at once, and no fallback relay is asked."""
        engine = self.deliver(
            Engine(
                {FIRST: script(("CONNECT", "554 5.7.1 go away")), "10.0.0.9": script()},
                {**ONE, **hosts("h9")},
                skip_5xx_greeting=False,
                fallback_relay="[h9.test]",
            ),
            "a@d.test h2.test[10.0.0.2]:25 5.7.1 bounced (host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away)",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST])
        self.assertEqual(self.hop(engine), "")

    def test_rebuff_is_told_before_goodbye(self) -> None:
        """Who is refused hears of it even if the server never says goodbye."""
        engine = Engine({FIRST: script(("CONNECT", "421 4.3.2 no"), ("QUIT", Silence()), lmtp=True)}, ONE, lmtp=True,
                        await_quit_reply=True, default_service="24")  # fmt: skip
        engine.start("a@d.test", nexthop="h2.test")
        engine.turn()
        self.assertEqual(len(engine.log), 1)
        self.assertIsNone(engine.status)
        engine.wait(304)
        self.assertEqual(engine.status, replace(engine.status or FinalStatus(True), complete=False))
        self.assertEqual(
            engine.reporter.results[0].stats.deliver_done, engine.reporter.results[0].stats.connection_setup_done
        )

    def test_rebuff_and_close(self) -> None:
        """A server that closes behind its refusal has refused all the same."""
        self.deliver(
            Engine({FIRST: script(("CONNECT", Close("554 5.7.1 no"))), SECOND: script()}, TWO),
            "4Abc12: host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 no",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_reply_too_many_in_front(self) -> None:
        """A server that is a reply ahead gets nowhere: what it says to DATA is what it meant for RCPT."""
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", Raw(b"220 h2.test\r\n250 pushed\r\n")))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (Protocol error: host h2.test[10.0.0.2] said: 250 2.1.5 Ok (in reply to DATA command))",
        )
        self.assertEqual(engine.dialer.servers[FIRST].messages, [])

    def test_too_many_recipients(self) -> None:
        """A server that takes only so many at a time: the rest waits for the next host, or for another time."""
        enough = "452 4.5.3 too many recipients"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT", None, None, enough))}, ONE),
            "c@d.test h2.test[10.0.0.2]:25 4.5.3 deferred"
            f" (host h2.test[10.0.0.2] said: {enough} (in reply to RCPT TO command))",
            f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            f"b@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            to=("a@d.test", "b@d.test", "c@d.test"),
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_mailbox_full_in_the_old_way(self) -> None:
        """552 to RCPT is taken at its word."""
        engine = Engine({FIRST: script(("RCPT", "552 too much")), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertIn("5.0.0 bounced", engine.log[0])

    def test_leaving_in_the_middle(self) -> None:
        """421 at any point is soft, for those whom it concerns."""
        for command in ("EHLO", "MAIL", "RCPT", "DATA", "."):
            engine = Engine({FIRST: script((command, "421 4.3.2 leaving")), SECOND: script()}, TWO)
            self.assertEqual(engine.deliver("a@d.test", nexthop="d.test"), FinalStatus(True), command)
            self.assertIn("421 4.3.2 leaving", engine.log[0])

    def test_each_recipient_its_fate(self) -> None:
        """Bounced, kept for the next host, and sent, in one transaction."""
        no = "550 5.1.1 bad"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT TO:<bad", no), ("RCPT TO:<grey", "450 4.2.0 grey")), SECOND: script()}, TWO),
            f"bad@d.test h2.test[10.0.0.2]:25 5.1.1 bounced (host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command))",
            "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            f"ok@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            f"grey@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
            to=("bad@d.test", "grey@d.test", "ok@d.test"),
        )
        self.assertEqual(engine.status, FinalStatus(True))
        self.assertNotIn("ok@", str(engine.commands(SECOND)))

    def test_content_refused_for_now(self) -> None:
        """A soft refusal of the content holds nothing back."""
        engine = self.deliver(
            Engine({FIRST: script((".", "452 4.3.1 full"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 4.3.1 deferred"
            " (host h2.test[10.0.0.2] said: 452 4.3.1 full (in reply to end of DATA command))",
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_closed_at_the_greeting(self) -> None:
        """A server that closes at once: the connection is lost in the greeting."""
        reason = "lost connection with h2.test[10.0.0.2] while receiving the initial server greeting"
        for fault in (Close(), Reset()):
            engine = self.deliver(
                Engine({FIRST: script(("CONNECT", fault))}, ONE),
                f"a@d.test h2.test[10.0.0.2]:25 4.4.2 deferred ({reason})",
            )
            self.assertEqual(self.hop(engine), f"4.4.2 {reason}")

    def test_lost_in_the_middle(self) -> None:
        """A connection that breaks after some were refused: those stay refused, the rest goes to the next host."""
        no = "550 5.1.1 bad"
        self.deliver(
            Engine({FIRST: script(("RCPT TO:<bad", no), ("RCPT TO:<a", Reset())), SECOND: script()}, TWO),
            f"bad@d.test h2.test[10.0.0.2]:25 5.1.1 bounced (host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command))",
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending RCPT TO",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
            to=("bad@d.test", "a@d.test"),
        )

    def test_lost_after_the_dot(self) -> None:
        """The next host gets the message though the first one may have it."""
        self.deliver(
            Engine({FIRST: script((".", Reset())), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending end of data -- message may be sent more than once",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_mail_354(self) -> None:
        """354 to MAIL bounces."""
        self.deliver(
            Engine({FIRST: script(("MAIL", "354 eh"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (host h2.test[10.0.0.2] said: 354 eh (in reply to MAIL FROM command))",
        )

    def test_data_250(self) -> None:
        """250 to DATA bounces as a protocol error; then RSET and QUIT."""
        engine = self.deliver(
            Engine({FIRST: script(("DATA", "250 eh"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (Protocol error: host h2.test[10.0.0.2] said: 250 eh (in reply to DATA command))",
        )
        self.assertEqual(engine.commands(FIRST)[0][-3:], ["DATA", "RSET", "QUIT"])

    def test_soft_bounce(self) -> None:
        """With soft_bounce a refusal leads to the next host, and at the last one to a bounce that the reporter softens."""
        no = "550 5.1.1 no"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT", no)), SECOND: script(("RCPT", no))}, TWO, soft_bounce=True),
            f"4Abc12: host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command)",
            f"a@d.test h1.test[10.0.0.1]:25 5.1.1 bounced (host h1.test[10.0.0.1] said: {no} (in reply to RCPT TO command))",
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_silent_server(self) -> None:
        """A server that falls silent costs its time limit, then the next host is asked."""
        engine = Engine({FIRST: script(("MAIL", Silence()), keywords=[]), SECOND: script()}, TWO)
        engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        engine.wait(302)
        self.assertEqual(engine.log[0], "4Abc12: conversation with h2.test[10.0.0.2] timed out while sending MAIL FROM")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_early_success_is_none(self) -> None:
        """A server that is too quick with its 250 has delivered nothing: the next host gets the message."""
        early = Raw(b"354 go\r\n250 2.0.0 fine\r\n")
        self.deliver(
            Engine({FIRST: script(("DATA", early)), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending message body",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_goodbye_is_no_success(self) -> None:
        """Nor has a server that leaves the dot without reply: its 221 is the answer to QUIT."""
        self.deliver(
            Engine({FIRST: script((".", Silence())), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending message body",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_same_recipient_twice(self) -> None:
        """Each entry of the request has its result, equal or not."""
        twin = Recipient("a@d.test", offset=5)
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver(twin, twin, nexthop="d.test")
        self.assertEqual([result.recipient for result in engine.reporter.results], [twin, twin])


class ProbeTests(DeliverTestCase):
    """Address probes."""

    def test_probe(self) -> None:
        """Who is accepted is deliverable; nothing is sent."""
        engine = Engine({FIRST: script(("RCPT TO:<no", "550 5.1.1 no"))}, ONE)
        engine.deliver("a@d.test", "no@d.test", nexthop="d.test", flags=RequestFlags.BOUNCE | RequestFlags.MTA_VRFY)
        self.assertEqual(
            engine.log,
            [
                "a@d.test h2.test[10.0.0.2]:25 2.1.5 sent (250 2.1.5 Ok)",
                "no@d.test h2.test[10.0.0.2]:25 5.1.1 bounced"
                " (host h2.test[10.0.0.2] said: 550 5.1.1 no (in reply to RCPT TO command))",
            ],
        )
        self.assertEqual(engine.commands(FIRST)[0][-2:], ["RSET", "QUIT"])


class LocalTests(DeliverTestCase):
    """What no server is asked."""

    def test_size(self) -> None:
        """A message beyond SIZE bounces; no other host is asked, and this one hears no QUIT."""
        engine = Engine({FIRST: script(keywords=["SIZE 100"]), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", size=101)
        self.assertEqual(
            engine.log,
            [
                "a@d.test h2.test[10.0.0.2]:25 5.3.4 bounced"
                " (message size 101 exceeds size limit 100 of server h2.test[10.0.0.2])"
            ],
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test"]])
        self.assertEqual(engine.reporter.results[0].dsn.mta_name, "")

    def test_smtputf8(self) -> None:
        """A message that needs SMTPUTF8 bounces after QUIT."""
        engine = Engine({FIRST: script(keywords=["PIPELINING"]), SECOND: script()}, TWO)
        engine.deliver("\u00fc@d.test", nexthop="d.test", smtputf8=SmtpUtf8.REQUESTED | SmtpUtf8.RECIPIENT)
        self.assertIn(
            "5.6.7 bounced (SMTPUTF8 is required, but was not offered by host h2.test[10.0.0.2])", engine.log[0]
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])

    def test_line_break_in_an_address(self) -> None:
        """Such a recipient is refused here; the others get their mail."""
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver("a@d.test\r\nRSET", "b@d.test", nexthop="d.test")
        self.assertEqual([result.fate for result in engine.reporter.results], [Fate.BOUNCED, Fate.SENT])
        self.assertEqual(engine.commands(FIRST)[0][2], "RCPT TO:<b@d.test>")

    def test_line_break_in_the_sender(self) -> None:
        """A sender with one is refused for all."""
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver("a@d.test", nexthop="d.test", sender="x\n@y")
        self.assertEqual(
            engine.log,
            ["a@d.test h2.test[10.0.0.2]:25 5.1.7 bounced (sender address contains a line break or null character)"],
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])


class ContentTests(DeliverTestCase):
    """Content that cannot be read."""

    def test_corrupt(self) -> None:
        """Damaged content bounces: no other host would get it either. The server sees no final dot."""
        content = PiecewiseContent([b"a\n", CorruptContentError("x")])
        engine = Engine({FIRST: script(), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=content)
        self.assertEqual(engine.log, ["a@d.test h2.test[10.0.0.2]:25 5.3.0 bounced (unreadable mail queue entry)"])
        self.assertEqual(engine.commands(FIRST)[0][-1], "DATA")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_unreadable_for_now(self) -> None:
        """A read error defers, without asking anybody else."""
        engine = Engine({FIRST: script(), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=PiecewiseContent([ContentError("Input/output error")]))
        self.assertIn("4.3.0 deferred (cannot read message content: Input/output error)", engine.log[0])
        self.assertEqual(engine.dialer.dialled, [FIRST])
        self.assertEqual(engine.status, FinalStatus(False))

    def test_refused_recipients_are_settled_first(self) -> None:
        """Only those are concerned who were accepted."""
        engine = Engine({FIRST: script(("RCPT TO:<no", "450 4.1.1 no"))}, ONE)
        content = PiecewiseContent([CorruptContentError("x")])
        engine.deliver("a@d.test", "no@d.test", nexthop="d.test", content=content)
        self.assertEqual([result.fate for result in engine.reporter.results], [Fate.DEFERRED, Fate.BOUNCED])
        self.assertEqual(engine.status, FinalStatus(False))

    def test_long_lines_are_told_once(self) -> None:
        """Though two hosts see them."""
        engine = Engine({FIRST: script((".", "451 4.3.0 x")), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=b"x" * 2000)
        self.assertEqual(engine.log.count("4Abc12: breaking line > 998 bytes with <CR><LF>SPACE"), 1)
