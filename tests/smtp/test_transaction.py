"""Mail transactions, as transcripts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.kit.dialog import PEER, DialogTestCase, Played
from tests.kit.messages import make_request
from twisted_mta.interfaces import CorruptContentError
from twisted_mta.model import events
from twisted_mta.model.request import LogClient, Recipient, RequestFlags, SmtpUtf8
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    Breakage,
    ConnectionBrokenError,
    ErrorClass,
    MessageFailed,
    Milestone,
    RecipientFailed,
)
from twisted_mta.smtp.capabilities import parse_ehlo
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Ending, Transaction, TransactionEnd, never
from twisted_mta.smtp.workarounds import PixWorkarounds

SMTP = DialogSettings()
LMTP = DialogSettings(lmtp=True, await_quit_reply=True)
PROBE = RequestFlags.BOUNCE | RequestFlags.MTA_VRFY

SAID = f"host {PEER.namaddr} said: "


def offering(*keywords: str, delay_dot: bool = False) -> Welcome:
    """A server that offers these keywords."""
    text = "\n".join(["250-mx.example", *(f"250-{keyword}" for keyword in keywords)])
    return Welcome(parse_ehlo(text), PixWorkarounds(delay_dot=delay_dot))


PIPELINING = offering("PIPELINING")
LOCK_STEP = offering()
NAMES = ("u0@d.example", "u1@d.example", "u2@d.example")


def always() -> bool:
    """A connection that shall serve again."""
    return True


class TransactionTestCase(DialogTestCase):
    """Plays transactions."""

    def transact(
        self,
        script: str,
        recipients: Sequence[str | Recipient] = NAMES[:1],
        *,
        welcome: Welcome = PIPELINING,
        settings: DialogSettings = SMTP,
        keep: Callable[[], bool] = never,
        reused: bool = False,
        **changes: Any,
    ) -> Played[TransactionEnd]:
        """Play one message; its sender is s@c.example."""
        request = make_request(*recipients, **{"sender": "s@c.example", **changes})
        transaction = Transaction(request, request.recipients, PEER, welcome, settings, keep=keep, reused=reused)
        return self.play(transaction.run(), script)

    def broken(self, played: Played[TransactionEnd], breakage: Breakage, doing: str) -> None:
        """The transaction ended with a connection that broke while doing this."""
        error = played.error
        assert isinstance(error, ConnectionBrokenError), error
        self.assertEqual((error.breakage, error.phase.doing), (breakage, doing))


class PipeliningTests(TransactionTestCase):
    """Commands in groups (RFC 2920 section 3.1)."""

    def test_complete(self) -> None:
        """One group up to DATA, then the content with the dot and QUIT; one recipient is refused."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> SIZE=49 BODY=8BITMIME | RCPT TO:<u0@d.example> ORCPT=rfc822;u0@d.example | \
RCPT TO:<u1@d.example> ORCPT=rfc822;u1@d.example | DATA
            S: 250 2.1.0 ok | 250 2.1.5 ok | 550 5.1.1 no | 354 go
            C: (content)
            C: . | QUIT
            S: 250 2.0.0 queued as X
            """,
            [Recipient("u0@d.example", "u0@d.example"), Recipient("u1@d.example", "u1@d.example")],
            welcome=offering("PIPELINING", "SIZE 10000000", "8BITMIME", "DSN"),
            encoding="8bit",
        )
        self.assertEqual(
            played.outcomes,
            [
                f"1 failed: 5.1.1 {SAID}550 5.1.1 no (in reply to RCPT TO command)",
                "all taken: 2.0.0 250 2.0.0 queued as X",
            ],
        )
        self.assertEqual(played.result, TransactionEnd(Ending.CLOSED))

    def test_milestones(self) -> None:
        """Times are taken before MAIL, and when the reply to the dot has come."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: . | QUIT
            S: 250 d
            """
        )
        self.assertEqual(played.findings[0], Milestone.SET_UP)
        self.assertEqual(played.findings[1], Milestone.DONE)
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 250 d"])

    def test_groups_of_4096_octets(self) -> None:
        """A group is the longest that fits into 4096 octets; then all its replies are read."""
        names = [f"{number:04}{'x' * 58}@d.example" for number in range(60)]
        lines = [f"RCPT TO:<{name}>" for name in names]
        first = 48
        group = "\r\n".join(["MAIL FROM:<s@c.example>", *lines[:first], ""])
        self.assertLessEqual(len(group), 4096)
        self.assertGreater(len(group) + len(lines[first]) + 2, 4096)
        script = "\n".join(
            [
                "C: " + " | ".join(["MAIL FROM:<s@c.example>", *lines[:first]]),
                "S: " + " | ".join(["250 ok"] * (first + 1)),
                "C: " + " | ".join([*lines[first:], "DATA"]),
                "S: " + " | ".join(["250 ok"] * (60 - first) + ["354 go"]),
                "C: (content)",
                "C: . | QUIT",
                "S: 250 done",
            ]
        )
        self.assertEqual(self.transact(script, names).outcomes, ["all taken: 2.0.0 250 done"])

    def test_group_of_exactly_4096_octets(self) -> None:
        """4096 octets are a group, one more is too many."""
        for surplus, group_ends_with_data in {0: True, 1: False}.items():
            rest = 4096 - len("MAIL FROM:<s@c.example>\r\nRCPT TO:<@d>\r\nRCPT TO:<@d>\r\nDATA\r\n")
            names = ["a" * 2000 + "@d", "b" * (rest - 2000 + surplus) + "@d"]
            group = ["MAIL FROM:<s@c.example>", *(f"RCPT TO:<{name}>" for name in names)]
            if group_ends_with_data:
                rows = ["C: " + " | ".join([*group, "DATA"]), "S: 250 a | 250 b | 250 c | 354 d"]
            else:
                rows = ["C: " + " | ".join(group), "S: 250 a | 250 b | 250 c", "C: DATA", "S: 354 d"]
            self.transact("\n".join([*rows, "C: (content)", "C: . | QUIT", "S: 250 e"]), names)

    def test_mail_refused_in_a_long_group(self) -> None:
        """That MAIL was refused is seen after the first group: the rest is never sent."""
        names = [f"{number:04}{'x' * 58}@d.example" for number in range(60)]
        script = "\n".join(
            [
                "C: " + " | ".join(["MAIL FROM:<s@c.example>", *(f"RCPT TO:<{name}>" for name in names[:48])]),
                "S: " + " | ".join(["450 4.7.1 later"] + ["503 5.5.1 need MAIL"] * 48),
                "C: RSET | QUIT",
                "S: 250 ok",
            ]
        )
        played = self.transact(script, names)
        self.assertEqual(played.outcomes, [f"all failed: 4.7.1 {SAID}450 4.7.1 later (in reply to MAIL FROM command)"])

    def test_quit_is_awaited_on_request(self) -> None:
        """With smtp_skip_quit_response = no the reply to QUIT is read; what it is does not matter."""
        for reply in ("221 bye", "500 what"):
            self.transact(
                f"""
                C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
                S: 250 a | 250 b | 354 c
                C: (content)
                C: . | QUIT
                S: 250 d | {reply}
                """,
                settings=replace(SMTP, await_quit_reply=True),
            )

    def test_quit_lost(self) -> None:
        """A connection that breaks then breaks in a phase that nobody cares for."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: . | QUIT
            S: 250 d | (lost)
            """,
            settings=replace(SMTP, await_quit_reply=True),
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 250 d"])
        error = played.error
        assert isinstance(error, ConnectionBrokenError)
        self.assertTrue(error.phase.silent)


class LockStepTests(TransactionTestCase):
    """Servers without PIPELINING: one command, one reply."""

    def test_complete(self) -> None:
        """QUIT goes out when the reply to the dot has been read."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 450 4.2.0 later
            C: RCPT TO:<u1@d.example>
            S: 250 c
            C: DATA
            S: 354 d
            C: (content)
            C: .
            S: 250 e
            C: QUIT
            """,
            NAMES[:2],
            welcome=LOCK_STEP,
        )
        self.assertEqual(
            played.outcomes,
            [f"0 failed: 4.2.0 {SAID}450 4.2.0 later (in reply to RCPT TO command)", "all taken: 2.0.0 250 e"],
        )

    def test_mail_refused(self) -> None:
        """RSET and QUIT; no recipient is named."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 550 5.7.1 no
            C: RSET
            S: 250 ok
            C: QUIT
            """,
            NAMES,
            welcome=LOCK_STEP,
        )
        self.assertEqual(played.outcomes, [f"all failed: 5.7.1 {SAID}550 5.7.1 no (in reply to MAIL FROM command)"])
        self.assertEqual(played.result, TransactionEnd(Ending.CLOSED))

    def test_all_recipients_refused(self) -> None:
        """There is no DATA without recipient."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 552 too much
            C: RSET
            S: (lost)
            """,
            welcome=LOCK_STEP,
        )
        self.assertEqual(played.outcomes, [f"0 failed: 5.0.0 {SAID}552 too much (in reply to RCPT TO command)"])
        assert isinstance(played.error, ConnectionBrokenError)
        self.assertTrue(played.error.phase.silent)

    def test_data_refused(self) -> None:
        """All that were accepted are refused after all."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 250 b
            C: DATA
            S: 421 4.3.2 leaving
            C: RSET
            S: 421 really
            C: QUIT
            """,
            welcome=LOCK_STEP,
        )
        self.assertEqual(played.outcomes, [f"all failed: 4.3.2 {SAID}421 4.3.2 leaving (in reply to DATA command)"])


class RefusalTests(TransactionTestCase):
    """What a server refuses, and what follows on the wire."""

    GROUP = "C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA\n"

    def outcomes(self, rest: str, **how: Any) -> list[str]:
        """What becomes of a message to one recipient."""
        return self.transact(self.GROUP + rest, **how).outcomes

    def test_nobody_accepted_but_data_is(self) -> None:
        """A DATA that was accepted for nobody gets a lone dot; its reply means nothing."""
        for reply in ("250 taken", "554 no valid recipients", "451 x"):
            outcomes = self.outcomes(f"S: 250 a | 550 5.1.1 no | 354 go\nC: . | QUIT\nS: {reply}")
            self.assertEqual(outcomes, [f"0 failed: 5.1.1 {SAID}550 5.1.1 no (in reply to RCPT TO command)"])

    def test_nobody_accepted_and_data_neither(self) -> None:
        """Then RSET; that DATA was refused adds nothing."""
        outcomes = self.outcomes("S: 250 a | 450 4.1.1 no | 554 5.5.1 no rcpts\nC: RSET | QUIT\nS: 250 ok")
        self.assertEqual(outcomes, [f"0 failed: 4.1.1 {SAID}450 4.1.1 no (in reply to RCPT TO command)"])

    def test_mail_refused(self) -> None:
        """The same for a refused MAIL; the replies to RCPT mean nothing then, not even a 250."""
        for rest in ("250 b | 354 go\nC: . | QUIT\nS: 250 x", "503 b | 503 c\nC: RSET | QUIT\nS: 250 x"):
            outcomes = self.outcomes("S: 451 4.3.0 a | " + rest)
            self.assertEqual(outcomes, [f"all failed: 4.3.0 {SAID}451 4.3.0 a (in reply to MAIL FROM command)"])

    def test_mail_354(self) -> None:
        """354 to MAIL is a permanent failure, though no server meant that."""
        outcomes = self.outcomes("S: 354 eh | 503 b | 503 c\nC: RSET | QUIT\nS: 250 x")
        self.assertEqual(outcomes, [f"all failed: 5.5.0 {SAID}354 eh (in reply to MAIL FROM command)"])

    def test_rcpt_354(self) -> None:
        """354 to RCPT as well."""
        outcomes = self.outcomes("S: 250 a | 354 eh | 503 c\nC: RSET | QUIT\nS: 250 x")
        self.assertEqual(outcomes, [f"0 failed: 5.5.0 {SAID}354 eh (in reply to RCPT TO command)"])

    def test_data_250(self) -> None:
        """250 to DATA is a breach of the protocol."""
        outcomes = self.outcomes("S: 250 a | 250 b | 250 eh\nC: RSET | QUIT\nS: 250 x")
        self.assertEqual(outcomes, [f"all failed: 5.5.0 Protocol error: {SAID}250 eh (in reply to DATA command)"])

    def test_dot_refused(self) -> None:
        """A refusal of the content is one of the message; 354 is as good as 5xx."""
        for reply, status in {
            "452 4.3.1 full": "4.3.1",
            "550 5.6.0 bad": "5.6.0",
            "354 more": "5.5.0",
            "650 x": "5.5.0",
        }.items():
            outcomes = self.outcomes(f"S: 250 a | 250 b | 354 c\nC: (content)\nC: . | QUIT\nS: {reply}")
            self.assertEqual(outcomes, [f"all failed: {status} {SAID}{reply} (in reply to end of DATA command)"])

    def test_421_is_nothing_special(self) -> None:
        """After 421 the dialog takes its course; the server will close."""
        outcomes = self.outcomes("S: 250 a | 421 4.3.2 b | 503 c\nC: RSET | QUIT\nS: 250 x")
        self.assertEqual(outcomes, [f"0 failed: 4.3.2 {SAID}421 4.3.2 b (in reply to RCPT TO command)"])

    def test_some_recipients(self) -> None:
        """Each recipient has its own reply, and DATA concerns those that were accepted (RFC 5321 section 3.3)."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | RCPT TO:<u2@d.example> | DATA
            S: 250 a | 452 4.5.3 too many | 250 c | 550 5.1.1 d | 554 5.7.0 no
            C: RSET | QUIT
            S: 250 x
            """,
            NAMES,
        )
        self.assertEqual(
            played.outcomes,
            [
                f"0 failed: 4.5.3 {SAID}452 4.5.3 too many (in reply to RCPT TO command)",
                f"2 failed: 5.1.1 {SAID}550 5.1.1 d (in reply to RCPT TO command)",
                f"all failed: 5.7.0 {SAID}554 5.7.0 no (in reply to DATA command)",
            ],
        )

    def test_attributes_of_a_reply(self) -> None:
        """What a server said goes along in full, on one line, with its name; what we found out has none of it."""
        played = self.transact(self.GROUP + "S: 250 a | 550-5.1.1 b | 550 5.1.1 c | 503 d\nC: RSET | QUIT\nS: 250 x")
        failed = played.findings[1]
        assert isinstance(failed, RecipientFailed)
        self.assertEqual((failed.why.diag_type, failed.why.diag_text), ("smtp", "550-5.1.1 b 550 5.1.1 c"))
        self.assertEqual((failed.why.mta_type, failed.why.mta_name), ("dns", "mx.example"))

    def test_without_waiting_for_quit_the_refused_session_ends(self) -> None:
        """With the reply to QUIT awaited, it is after RSET, too."""
        self.outcomes(
            "S: 250 a | 550 b | 503 c\nC: RSET | QUIT\nS: 250 x | 221 y", settings=replace(SMTP, await_quit_reply=True)
        )


class BreakageTests(TransactionTestCase):
    """Connections that break, and where."""

    def test_phases(self) -> None:
        """The reason names what was awaited."""
        for replies, doing in {
            "(lost)": "sending MAIL FROM",
            "250 a | (lost)": "sending RCPT TO",
            "250 a | 250 b | (lost)": "sending RCPT TO",
            "250 a | 250 b | 550 c | (lost)": "sending DATA command",
        }.items():
            for break_word, breakage in {"(lost)": Breakage.LOST, "(timeout)": Breakage.TIMED_OUT}.items():
                played = self.transact(
                    f"""
                    C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
                    S: {replies.replace("(lost)", break_word)}
                    """,
                    NAMES[:2],
                )
                self.broken(played, breakage, doing)

    CONTENT = "C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA\nS: 250 a | 250 b | 354 c\nC: (content)\n"

    def test_within_the_content(self) -> None:
        """Without a last word of the server the connection was lost in the content."""
        played = self.transact(self.CONTENT + "S: (lost in content)\nS: (lost)")
        self.broken(played, Breakage.LOST, "sending message body")

    def test_late_in_the_content(self) -> None:
        """After a timeout nobody waits for last words."""
        played = self.transact(self.CONTENT + "S: (timeout in content)")
        self.broken(played, Breakage.TIMED_OUT, "sending message body")

    def test_last_words(self) -> None:
        """A refusal that comes in place of the rest of the content is the reply to the dot; nothing more is said."""
        for reply, status in {"552 5.3.4 too much": "5.3.4", "451 4.3.0 oops": "4.3.0"}.items():
            played = self.transact(self.CONTENT + f"S: (lost in content)\nS: (early) {reply}")
            self.assertEqual(played.outcomes, [f"all failed: {status} {SAID}{reply} (in reply to end of DATA command)"])
            self.assertEqual(played.result, TransactionEnd(Ending.DROPPED))

    def test_good_last_words(self) -> None:
        """That half a message was taken is no delivery: the rest of it never left."""
        played = self.transact(self.CONTENT + "S: (lost in content)\nS: (early) 250 thanks")
        self.assertEqual(played.outcomes, [])
        self.broken(played, Breakage.LOST, "sending message body")

    def test_after_the_dot(self) -> None:
        """The message may have arrived."""
        for word, breakage in {"(lost)": Breakage.LOST, "(timeout)": Breakage.TIMED_OUT}.items():
            played = self.transact(self.CONTENT + f"C: . | QUIT\nS: {word}")
            self.broken(played, breakage, "sending end of data -- message may be sent more than once")

    def test_unreadable_content(self) -> None:
        """Content that cannot be read is never finished with a dot."""
        played = self.transact(self.CONTENT + "S: (damaged content)")
        self.assertIsInstance(played.error, CorruptContentError)


class DistrustTests(TransactionTestCase):
    """Replies that cannot be the answer to the final dot, though they stand where it belongs."""

    CONTENT = "C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA\nS: 250 a | 250 b | 354 c\nC: (content)\n"

    def lost(self, script: str, **how: Any) -> Played[TransactionEnd]:
        """Play a script at whose end the connection counts as lost within the content."""
        played = self.transact(script, **how)
        self.broken(played, Breakage.LOST, "sending message body")
        return played

    def test_early(self) -> None:
        """A 250 that came before the dot had left says nothing about the message."""
        self.assertEqual(self.lost(self.CONTENT + "C: . | QUIT\nS: (early) 250 d").outcomes, [])

    def test_early_refusal(self) -> None:
        """A refusal needs no dot."""
        played = self.transact(self.CONTENT + "C: . | QUIT\nS: (early) 550 5.7.1 d")
        self.assertEqual(played.outcomes, [f"all failed: 5.7.1 {SAID}550 5.7.1 d (in reply to end of DATA command)"])

    def test_garbage_before_quit(self) -> None:
        """Behind a line that is no reply stands what may be the reply to QUIT."""
        self.assertEqual(self.lost(self.CONTENT + "C: . | QUIT\nS: 55O no | 221 bye").outcomes, [])

    def test_goodbye(self) -> None:
        """A server that leaves the dot without reply has said goodbye, not yes."""
        self.lost(self.CONTENT + "C: . | QUIT\nS: 221 2.0.0 bye")

    def test_goodbye_in_lock_step(self) -> None:
        """Before QUIT was said, 221 is as good as any 2xx."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: .
            S: 221 d
            """,
            keep=always,
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 221 d"])

    def test_garbage_in_lock_step(self) -> None:
        """With nothing else in the pipeline there is no other reply that it could be."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 250 b
            C: DATA
            S: 354 c
            C: (content)
            C: .
            S: hm | 250 d
            C: QUIT
            """,
            welcome=LOCK_STEP,
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 hm 250 d"])

    def test_garbage_before_data(self) -> None:
        """Garbage in the group before does no harm: its replies are all read, and the last one must be a 354."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: okay | 250 a | 250 b | 354 c
            C: (content)
            C: . | QUIT
            S: 250 d
            """
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 250 d"])

    def test_garbage_among_lmtp_replies(self) -> None:
        """Garbage shifts all replies that follow: a success behind it may be somebody else's."""
        played = self.lost(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 250 b | 250 c | 354 d
            C: (content)
            C: . | QUIT
            S: 25 O | 550 5.1.1 e | 250 f
            """,
            recipients=NAMES[:2],
            settings=LMTP,
        )
        self.assertEqual(played.outcomes, [f"0 failed: 5.1.1 {SAID}25 O 550 5.1.1 e (in reply to end of DATA command)"])

    def test_garbage_among_lmtp_replies_in_lock_step(self) -> None:
        """Without pipelining, too, as long as more than one reply is to come."""
        self.lost(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 250 b
            C: RCPT TO:<u1@d.example>
            S: 250 c
            C: DATA
            S: 354 d
            C: (content)
            C: .
            S: 25 O | 250 e
            """,
            recipients=NAMES[:2],
            settings=LMTP,
            welcome=LOCK_STEP,
        )


class LmtpTests(TransactionTestCase):
    """A reply for each recipient (RFC 2033 section 4.2)."""

    GROUP = """
        C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | RCPT TO:<u2@d.example> | DATA
        S: 250 a | 250 b | 550 5.1.1 no | 250 c | 354 d
        C: (content)
        C: . | QUIT
        """

    def lmtp(self, rest: str) -> Played[TransactionEnd]:
        """Three recipients, the second of which is refused."""
        return self.transact(self.GROUP + rest, NAMES, settings=LMTP)

    def test_replies_in_order(self) -> None:
        """The replies belong to the accepted recipients in their order; then comes that to QUIT."""
        played = self.lmtp("S: 250 2.1.5 first | 452 4.2.2 third | 221 bye")
        self.assertEqual(
            played.outcomes,
            [
                f"1 failed: 5.1.1 {SAID}550 5.1.1 no (in reply to RCPT TO command)",
                "0 taken: 2.1.5 250 2.1.5 first",
                f"2 failed: 4.2.2 {SAID}452 4.2.2 third (in reply to end of DATA command)",
            ],
        )
        self.assertEqual(played.result, TransactionEnd(Ending.CLOSED))

    def test_one_reply_too_few(self) -> None:
        """Who has no reply is not settled."""
        played = self.lmtp("S: 250 2.1.5 first | (lost)")
        self.assertEqual(played.outcomes[1:], ["0 taken: 2.1.5 250 2.1.5 first"])
        self.broken(played, Breakage.LOST, "sending end of data -- message may be sent more than once")

    def test_goodbye_in_place_of_a_reply(self) -> None:
        """The reply to QUIT settles nobody."""
        played = self.lmtp("S: 250 2.1.5 first | 221 bye")
        self.assertEqual(played.outcomes[1:], ["0 taken: 2.1.5 250 2.1.5 first"])
        self.broken(played, Breakage.LOST, "sending message body")

    def test_one_reply_too_many(self) -> None:
        """A surplus reply stands for that to QUIT, and does nobody harm."""
        played = self.lmtp("S: 250 2.1.5 first | 250 2.1.5 third | 550 who?")
        self.assertEqual(played.outcomes[1:], ["0 taken: 2.1.5 250 2.1.5 first", "2 taken: 2.1.5 250 2.1.5 third"])

    def test_nobody_accepted(self) -> None:
        """Exactly one reply is read to a dot that was sent for nobody."""
        self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 550 b | 550 c | 354 d
            C: . | QUIT
            S: 250 e | 221 f
            """,
            NAMES[:2],
            settings=LMTP,
        )

    def test_last_words(self) -> None:
        """When the connection breaks in the content, each recipient wants a last word; those without one are open."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 250 b | 250 c | 354 d
            C: (content)
            S: (lost in content)
            S: (early) 552 5.2.3 too much | (lost)
            """,
            NAMES[:2],
            settings=LMTP,
        )
        self.assertEqual(
            played.outcomes, [f"0 failed: 5.2.3 {SAID}552 5.2.3 too much (in reply to end of DATA command)"]
        )
        self.broken(played, Breakage.LOST, "sending message body")


class ProbeTests(TransactionTestCase):
    """Address probes deliver nothing (postconf(5) smtp_address_verify_target)."""

    def test_up_to_rcpt(self) -> None:
        """Who is accepted at RCPT is deliverable; then RSET and QUIT, all in one group."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | RSET | QUIT
            S: 250 a | 250 2.1.5 yes | 550 5.1.1 no | 250 b
            """,
            NAMES[:2],
            flags=PROBE,
        )
        self.assertEqual(
            played.outcomes,
            ["0 taken: 2.1.5 250 2.1.5 yes", f"1 failed: 5.1.1 {SAID}550 5.1.1 no (in reply to RCPT TO command)"],
        )

    def test_in_lock_step(self) -> None:
        """The same without pipelining; MAIL refused ends it early."""
        self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 250 a
            C: RCPT TO:<u0@d.example>
            S: 250 b
            C: RSET
            S: 250 c
            C: QUIT
            """,
            welcome=LOCK_STEP,
            flags=RequestFlags.USR_VRFY,
        )
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example>
            S: 450 4.7.1 a
            C: RSET
            S: 250 c
            C: QUIT
            """,
            welcome=LOCK_STEP,
            flags=PROBE,
        )
        self.assertEqual(played.outcomes, [f"all failed: 4.7.1 {SAID}450 4.7.1 a (in reply to MAIL FROM command)"])

    def test_up_to_data(self) -> None:
        """DATA cannot be taken back: the connection is dropped."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 550 5.1.1 no | 250 b | 354 2.0.0 go
            """,
            NAMES[:2],
            flags=PROBE,
            settings=replace(SMTP, probe_to_data=True),
        )
        self.assertEqual(played.outcomes[1:], ["all taken: 2.0.0 354 2.0.0 go"])
        self.assertEqual(played.result, TransactionEnd(Ending.DROPPED))

    def test_up_to_data_refused(self) -> None:
        """DATA refused is a failure of all; DATA accepted for nobody gets its lone dot."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 550 5.7.1 no
            C: RSET | QUIT
            S: 250 ok
            """,
            flags=PROBE,
            settings=replace(SMTP, probe_to_data=True),
        )
        self.assertEqual(played.outcomes, [f"all failed: 5.7.1 {SAID}550 5.7.1 no (in reply to DATA command)"])
        self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 550 b | 354 c
            C: . | QUIT
            S: 250 ok
            """,
            flags=PROBE,
            settings=replace(SMTP, probe_to_data=True),
        )


class XforwardTests(TransactionTestCase):
    """XFORWARD in front of MAIL."""

    WELCOME = offering("PIPELINING", "XFORWARD NAME ADDR HELO")
    CLIENT = LogClient("spike.example", "192.0.2.7", "", "", "spike", "")
    SENDING = replace(SMTP, send_xforward=True)

    def test_in_one_group(self) -> None:
        """Both commands travel with the rest; a refusal is only told."""
        played = self.transact(
            """
            C: XFORWARD NAME=spike.example ADDR=192.0.2.7 | XFORWARD HELO=spike | MAIL FROM:<s@c.example> | \
RCPT TO:<u0@d.example> | DATA
            S: 250 x | 550 5.7.1 y | 250 a | 250 b | 354 c
            C: (content)
            C: . | QUIT
            S: 250 d
            """,
            welcome=self.WELCOME,
            settings=self.SENDING,
            client=self.CLIENT,
        )
        self.assertEqual(
            played.events, [events.XforwardRefused(PEER.relay, "550 5.7.1 y", "XFORWARD helo/protocol command")]
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 250 d"])

    def test_one_alone(self) -> None:
        """A command without attributes is left out."""
        for client, line in {
            LogClient(name="spike.example"): "XFORWARD NAME=spike.example",
            LogClient(helo="spike"): "XFORWARD HELO=spike",
        }.items():
            self.transact(
                f"""
                C: {line} | MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
                S: 250 x | 250 a | 250 b | 354 c
                C: (content)
                C: . | QUIT
                S: 250 d
                """,
                welcome=self.WELCOME,
                settings=self.SENDING,
                client=client,
            )

    def test_lost(self) -> None:
        """It has words of its own for a broken connection."""
        played = self.transact(
            """
            C: XFORWARD NAME=spike.example | MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: (lost)
            """,
            welcome=self.WELCOME,
            settings=self.SENDING,
            client=LogClient(name="spike.example"),
        )
        self.broken(played, Breakage.LOST, "sending XFORWARD name/address")


class KeepOpenTests(TransactionTestCase):
    """Connections that shall serve again: no QUIT."""

    def test_complete(self) -> None:
        """The dot is the last word."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: .
            S: 250 d
            """,
            keep=always,
            settings=replace(SMTP, await_quit_reply=True),
        )
        self.assertEqual(played.result, TransactionEnd(Ending.OPEN))

    def test_refused(self) -> None:
        """So is RSET, which makes ready for the next message."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 550 b | 503 c
            C: RSET
            S: 250 d
            """,
            keep=always,
        )
        self.assertEqual(played.result, TransactionEnd(Ending.OPEN))

    def test_decided_with_the_dot(self) -> None:
        """What is asked last is whether to keep it, as the dot is built: the replies that are read then are too late."""
        for answers, last, ending in (([True], ".", Ending.OPEN), ([False], ". | QUIT", Ending.CLOSED)):
            played = self.transact(
                f"""
                C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
                S: 250 a | 500 b | 250 c | 354 d
                C: (content)
                C: {last}
                S: 250 e
                """,
                NAMES[:2],
                keep=answers.pop,
            )
            self.assertEqual(played.result, TransactionEnd(ending))

    def test_decided_anew_with_reset(self) -> None:
        """A dot that is never sent decides nothing: RSET does, after the replies that make it needed."""
        answers = [False, True]
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 501 b | 554 c
            C: RSET | QUIT
            S: 250 d
            """,
            keep=answers.pop,
        )
        self.assertEqual(played.result, TransactionEnd(Ending.CLOSED))
        self.assertEqual(answers, [])

    def test_probe(self) -> None:
        """A probe that ends with RSET keeps it, too; one that went up to DATA cannot."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RSET
            S: 250 a | 250 b | 250 c
            """,
            keep=always,
            flags=PROBE,
        )
        self.assertEqual(played.result, TransactionEnd(Ending.OPEN))
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            """,
            settings=replace(SMTP, probe_to_data=True),
            keep=always,
            flags=PROBE,
        )
        self.assertEqual(played.result, TransactionEnd(Ending.DROPPED))

    def test_out_of_step(self) -> None:
        """A connection that has served before, and takes DATA with 2xx, answers something else: it is lost, nobody bounces."""
        script = """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 reset | 250 sender | 250 recipient
            """
        played = self.transact(script, reused=True)
        self.broken(played, Breakage.LOST, "sending DATA command")
        self.assertEqual(played.outcomes, [])
        played = self.transact(f"{script}C: RSET | QUIT\n            S: 250 reset")
        self.assertIn("Protocol error", played.outcomes[0])


class PixTests(TransactionTestCase):
    """The delay of the dot (postconf(5) smtp_pix_workarounds)."""

    def test_delay(self) -> None:
        """The content leaves, and after a while the dot."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: (pauses 10 s)
            C: . | QUIT
            S: 250 d
            """,
            welcome=offering("PIPELINING", delay_dot=True),
        )
        self.assertEqual(played.outcomes, ["all taken: 2.0.0 250 d"])

    def test_long_delay(self) -> None:
        """After more than ten seconds of silence nothing else is put behind the dot."""
        self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 250 a | 250 b | 354 c
            C: (content)
            C: (pauses 11 s)
            C: .
            S: 250 d
            C: QUIT
            """,
            welcome=offering("PIPELINING", delay_dot=True),
            settings=replace(SMTP, pix_delay_seconds=11),
        )


class LocalRefusalTests(TransactionTestCase):
    """What a server need not be asked."""

    def refused(self, status: str, end: TransactionEnd, recipients: Sequence[str] = NAMES[:1], **how: Any) -> str:
        """Nothing is said, and all recipients fail; the reason."""
        played = self.transact("", recipients, **how)
        self.assertEqual(played.result, end)
        failed = played.findings[-1]
        assert isinstance(failed, MessageFailed)
        self.assertEqual(failed.why.status, status)
        self.assertEqual((failed.why.mta_name, failed.why.diag_text), ("", ""), "the server has not said it")
        return failed.why.reason

    def test_size(self) -> None:
        """A message that is larger than the server takes; the connection is closed without QUIT (RFC 1870 section 6.1)."""
        reason = self.refused("5.3.4", TransactionEnd(Ending.DROPPED), welcome=offering("SIZE 1000"), size=2000)
        self.assertEqual(reason, "message size 2000 exceeds size limit 1000 of server mx.example[192.0.2.1]")
        self.refused("5.3.4", TransactionEnd(Ending.OPEN), welcome=offering("SIZE 1000"), size=2000, keep=always)

    def test_size_that_fits(self) -> None:
        """A message of just the limit, and a limit of 0, are no reason."""
        for keyword, size in (("SIZE 1000", 1000), ("SIZE 0", 2000), ("SIZE", 2000)):
            self.transact(
                f"""
                C: MAIL FROM:<s@c.example> SIZE={size}
                S: (lost)
                """,
                welcome=offering(keyword),
                size=size,
            )

    def test_smtputf8(self) -> None:
        """A message that needs SMTPUTF8; such a session does not count as one that worked."""
        needs = SmtpUtf8.REQUESTED | SmtpUtf8.RECIPIENT
        reason = self.refused("5.6.7", TransactionEnd(Ending.OPEN, completed=False), smtputf8=needs)
        self.assertEqual(reason, "SMTPUTF8 is required, but was not offered by host mx.example[192.0.2.1]")

    def test_smtputf8_that_is_not_needed(self) -> None:
        """A wish alone, or UTF-8 without the wish, is sent anyway."""
        for smtputf8 in (SmtpUtf8.REQUESTED, SmtpUtf8.SENDER | SmtpUtf8.RECIPIENT | SmtpUtf8.HEADER):
            self.transact("C: MAIL FROM:<s@c.example>\nS: (lost)", welcome=LOCK_STEP, smtputf8=smtputf8)

    def test_unspeakable_sender(self) -> None:
        """A sender with a line break cannot be said."""
        for sender in ("a@b\r\nDATA", "a@b\nx", "a\0@b"):
            self.refused("5.1.7", TransactionEnd(Ending.OPEN), sender=sender)

    def test_unspeakable_recipients(self) -> None:
        """Such recipients are left out; the findings of the others keep their numbers."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 550 5.1.1 b | 503 c
            C: RSET | QUIT
            S: 250 d
            """,
            ["u0@d.example\r\nRCPT TO:<x@y>", "u1@d.example", "u2\0@d.example"],
        )
        self.assertEqual(
            played.outcomes,
            [
                "0 failed: 5.1.3 recipient address contains a line break or null character",
                "2 failed: 5.1.3 recipient address contains a line break or null character",
                f"1 failed: 5.1.1 {SAID}550 5.1.1 b (in reply to RCPT TO command)",
            ],
        )

    def test_nobody_speakable(self) -> None:
        """With nobody left nothing is said."""
        played = self.transact("", ["a\n@b"])
        self.assertEqual(played.result, TransactionEnd(Ending.OPEN))


class EncodingTests(TransactionTestCase):
    """The mark of a message."""

    def test_unknown(self) -> None:
        """A mark that nobody knows is told, where it would be said."""
        for keyword, told in {"8BITMIME": [events.UnknownEncoding("4Abc12", "binary")], "SIZE": []}.items():
            played = self.transact(
                "C: MAIL FROM:<s@c.example>\nS: (lost)", welcome=offering(keyword), encoding="binary"
            )
            self.assertEqual(played.events, told)


class TextTests(DialogTestCase):
    """The words for broken connections."""

    def test_local_error(self) -> None:
        """A failure of ours that ends the session: 4.3.0, and no phase."""
        why = ConnectionBrokenError(Breakage.LOCAL_ERROR, phases.MAIL).why(PEER)
        self.assertEqual((why.status, why.reason), ("4.3.0", "local data error while talking to mx.example[192.0.2.1]"))


class TroubleTests(TransactionTestCase):
    """Refusals that the postmaster may want to hear of."""

    def test_where(self) -> None:
        """In each phase a refusal that smells of a misunderstanding is one; an honest one is not."""
        mail, rcpt, data = "MAIL FROM:<s@c.example>", "RCPT TO:<u0@d.example>", "DATA"
        for code, troubles in (("501", ErrorClass.PROTOCOL), ("550", ErrorClass.NONE)):
            for script in (
                f"C: {mail}\nS: {code} no\nC: RSET\nS: 250 ok\nC: QUIT",
                f"C: {mail}\nS: 250 a\nC: {rcpt}\nS: {code} no\nC: RSET\nS: 250 ok\nC: QUIT",
                f"C: {mail}\nS: 250 a\nC: {rcpt}\nS: 250 b\nC: {data}\nS: {code} no\nC: RSET\nS: 250 ok\nC: QUIT",
                f"C: {mail}\nS: 250 a\nC: {rcpt}\nS: 250 b\nC: {data}\nS: 354 c\nC: (content)\nC: .\nS: {code} no"
                "\nC: QUIT",
            ):
                self.assertEqual(self.transact(script, welcome=LOCK_STEP).troubles, troubles)

    def test_recipient_of_lmtp(self) -> None:
        """So it is for one recipient of several."""
        played = self.transact(
            """
            C: MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | RCPT TO:<u1@d.example> | DATA
            S: 250 a | 250 b | 250 c | 354 d
            C: (content)
            C: . | QUIT
            S: 250 ok | 555 no | 221 bye
            """,
            NAMES[:2],
            settings=LMTP,
        )
        self.assertEqual(played.troubles, ErrorClass.PROTOCOL)

    def test_not_xforward(self) -> None:
        """Nobody needs to know XFORWARD; and what DATA says is no matter where no recipient was accepted."""
        played = self.transact(
            """
            C: XFORWARD SOURCE=LOCAL | MAIL FROM:<s@c.example> | RCPT TO:<u0@d.example> | DATA
            S: 500 what? | 250 a | 550 no | 503 no recipients
            C: RSET | QUIT
            S: 250 ok
            """,
            welcome=offering("PIPELINING", "XFORWARD SOURCE"),
            settings=replace(SMTP, send_xforward=True),
        )
        self.assertEqual(played.troubles, ErrorClass.NONE)
