"""Tests of twisted_mta.session.content_rules, and of content that is treated while it is sent."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.session.shell import PiecewiseContent, ShellTestCase
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.lookups import Asked, Replacement
from twisted_mta.content.settings import ContentSettings
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.rewrite import complete_locally
from twisted_mta.model.events import CheckFailed, CheckMatched
from twisted_mta.session.body import PIECE_OCTETS
from twisted_mta.session.content_rules import PLAIN, ContentRules
from twisted_mta.smtp.transaction import TransactionEnd
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet

ERROR = TableError("t:n", "broken", "key")


def rules_from(**parameters: str) -> ContentRules:
    """The rules of a configuration."""
    settings = load_settings(None, overrides=list(parameters.items()))
    directory = settings.queue_directory
    tables = TableSet(TableContext(settings.expanded, directory, directory, lambda event: None))  # type: ignore[arg-type]
    return ContentRules.from_settings(settings, tables, {"192.0.2.1"}.__contains__, complete_locally("origin.test"))


class SettingsTests(SynchronousTestCase):
    """What main.cf says."""

    def test_nothing(self) -> None:
        """Without tables chunks pass as they are."""
        chunks = iter([b"x"])
        self.assertIs(rules_from().treat(chunks, "", lambda event: None, convert=False), chunks)
        self.assertIs(PLAIN.treat(chunks, "", lambda event: None, convert=False), chunks)

    def test_conversion(self) -> None:
        """A conversion needs no tables."""
        treated = PLAIN.treat(
            iter([b"Content-Transfer-Encoding: 8bit\n\n\xe4\n"]), "", lambda event: None, convert=True
        )
        self.assertEqual(b"".join(map(bytes, treated)), b"Content-Transfer-Encoding: quoted-printable\n\n=E4\n")  # type: ignore[arg-type]

    def test_checks(self) -> None:
        """Keys of check tables are not folded."""
        rules = rules_from(smtp_body_checks="inline:{ {Line = WARN} }")
        self.assertEqual(set(rules.answers), {Asked.BODY_CHECKS})
        look_up = rules.answers[Asked.BODY_CHECKS]
        self.assertEqual((look_up("Line"), look_up("line")), ("WARN", None))

    def test_generic_maps(self) -> None:
        """Addresses are searched for without their extension, too, and local ones without their domain."""
        rules = rules_from(
            smtp_generic_maps="inline:{ a@b.test=x@y.test, local=z@y.test, @d.test=@e.test }",
            recipient_delimiter="+",
            mydestination="here.test",
            myorigin="origin.test",
        )
        for key, found in {
            "A+e@b.test": Replacement("x@y.test", "+e"),
            "a@b.test": Replacement("x@y.test"),
            "local@here.test": Replacement("z@y.test"),
            "local+e@origin.test": Replacement("z@y.test", "+e"),
            "local@[192.0.2.1]": Replacement("z@y.test"),
            "local@[192.0.2.2]": None,
            "u+e@d.test": Replacement("@e.test"),
        }.items():
            self.assertEqual(rules.answers[Asked.GENERIC](key), found)
        self.assertEqual(rules.answers[Asked.REWRITE]("x"), "x@origin.test")

    def test_failing_tables(self) -> None:
        """A table that cannot be opened is an error whenever it is asked; one that is malformed makes no rules."""
        rules = rules_from(smtp_generic_maps="fail:x", smtp_header_checks="nosuch:x")
        for asked in (Asked.GENERIC, Asked.HEADER_CHECKS):
            self.assertRaises(TableError, rules.answers[asked], "key")
        self.assertRaises(ConfigError, rules_from, smtp_body_checks="nonsense")


class TreatedContentTests(ShellTestCase):
    """Content on its way through a session."""

    def use(self, **answers: Callable[[str], Any]) -> None:
        """Use tables, by the names of Asked."""
        asked = {Asked[name]: answer for name, answer in answers.items()}
        self.protocol.content_rules = ContentRules(ContentSettings({key: key.value for key in asked}), asked)

    def send(
        self, content: bytes | PiecewiseContent, keywords: tuple[str, ...] = ("PIPELINING", "8BITMIME"), **changes: Any
    ) -> Deferred[TransactionEnd]:
        """Get as far as the content."""
        done = self.transact(content, keywords=keywords, **changes)
        self.said = self.client()
        self.server("250 a", "250 b", "354 c")
        return done

    def finish(self, done: Deferred[TransactionEnd]) -> str:
        """The content, when it has been taken."""
        left = self.client()
        self.server("250 d", "221 e")
        self.assertTrue(self.successResultOf(done).completed)
        self.assertTrue(left.endswith(".\r\nQUIT\r\n"))
        return left.removesuffix(".\r\nQUIT\r\n")

    def test_conversion(self) -> None:
        """Content that is not 7bit is converted for a server without 8BITMIME, and its size is not told."""
        text = "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n\u00e4\n".encode()
        done = self.send(text, ("PIPELINING", "SIZE"), encoding="8bit", size=55)
        self.assertNotIn("SIZE", self.said)
        expected = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n"
        self.assertEqual(self.finish(done), expected)

    def test_no_conversion(self) -> None:
        """It is not for one with 8BITMIME, nor is content that says it is 7bit."""
        text = b"Content-Transfer-Encoding: 8bit\n\nx=\n"
        for keywords, encoding in ((("8BITMIME",), "8bit"), ((), "7bit")):
            self.connect()
            done = self.transact(text, keywords=("PIPELINING", "SIZE", *keywords), encoding=encoding, size=55)
            self.assertIn("SIZE=55", self.client())
            self.server("250 a", "250 b", "354 c")
            self.assertEqual(self.finish(done), text.decode().replace("\n", "\r\n"))

    def test_local_tables(self) -> None:
        """Tables that answer at once do not change how content leaves."""
        self.use(HEADER_CHECKS=lambda key: "STRIP" if key == "A: 1" else None)
        done = self.send(b"A: 1\nB: 2\n\nA: 1\n")
        self.assertEqual(self.finish(done), "B: 2\r\n\r\nA: 1\r\n")
        self.assertEqual(self.events, [CheckMatched("4Abc12", "strip", "header", "A: 1", "")])

    def test_tables_that_take_their_time(self) -> None:
        """Nothing leaves before the answer, and the server is given as much time as it always has, afterwards."""
        waiting: list[Deferred[str | None]] = []

        def look_up(key: str) -> Deferred[str | None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.use(HEADER_CHECKS=look_up)
        done = self.send(b"A: 1\nB: 2\n\nx\n")
        self.clock.advance(10_000)
        self.assertEqual(self.client(), "")
        waiting[0].callback("REPLACE C: 3")
        self.assertEqual(self.client(), "")
        self.clock.advance(10_000)
        waiting[1].callback(None)
        self.assertEqual(self.finish(done), "C: 3\r\nB: 2\r\n\r\nx\r\n")

    def test_waiting_in_the_middle(self) -> None:
        """The same when pieces have left before."""
        waiting: Deferred[str | None] = Deferred()
        self.use(BODY_CHECKS=lambda key: waiting if key == "wait" else None)
        lines = b"x" * 70 + b"\n"
        done = self.send(PiecewiseContent([b"\n", *[lines * 900] * 3, b"wait\n", *[lines * 900] * 3]))
        left = self.client()
        self.assertIn("xxx", left)
        self.clock.advance(1000)
        waiting.callback("REPLACE here")
        expected = "\r\n" + (lines * 2700 + b"here\n" + lines * 2700).decode().replace("\n", "\r\n")
        self.assertEqual(left + self.finish(done), expected)
        self.assertLess(self.transport.peak_unsent, 4 * PIECE_OCTETS)

    def test_server_is_too_slow_afterwards(self) -> None:
        """The time limit holds again when the answer has come."""
        waiting: Deferred[str | None] = Deferred()
        self.use(BODY_CHECKS=lambda key: waiting if key == "wait" else None)
        done = self.send(PiecewiseContent([b"\nwait\n", *[b"x" * 70000 + b"\n"] * 5]))
        self.clock.advance(1000)
        waiting.callback(None)
        self.clock.advance(179)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertIn("timed out while sending message body", self.broken(done))

    def test_table_fails(self) -> None:
        """The connection is given up without an end of the content, and the fault is ours."""
        for answer in (lambda key: (_ for _ in ()).throw(ERROR), lambda key: deferred_failure()):
            self.connect()
            self.use(BODY_CHECKS=answer)
            done = self.send(b"\nx\n")
            self.assertEqual(self.broken(done), "local data error while talking to mx.example[192.0.2.1]")
            self.assertEqual(self.events, [CheckFailed("4Abc12", "body")])
            self.assertNotIn(".\r\n", self.client())

    def test_content_fails(self) -> None:
        """Content that cannot be converted ends the transaction with the reason."""
        text = b"Content-Type: multipart/mixed" + b"; boundary=b" * 103 + b"\n\n"
        done = self.send(text, ("PIPELINING",), encoding="8bit")
        failed = self.failureResultOf(done, ContentFailedError)
        self.assertEqual(failed.value.why.status, "5.6.0")

    def test_connection_lost_while_waiting(self) -> None:
        """The lookup is given up."""
        cancelled: list[Deferred[str | None]] = []
        self.use(BODY_CHECKS=lambda key: Deferred(cancelled.append))
        done = self.send(b"\nx\n")
        self.transport.lose()
        self.assertIn("lost connection", self.broken(done))
        self.assertEqual(len(cancelled), 1)
        self.idle()

    def test_cancelled_while_waiting(self) -> None:
        """The same when the delivery is cancelled."""
        cancelled: list[Deferred[str | None]] = []
        self.use(HEADER_CHECKS=lambda key: Deferred(cancelled.append))
        done = self.send(b"A: 1\n")
        done.addErrback(lambda failure: None)
        done.cancel()
        self.assertEqual(len(cancelled), 1)
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "dropped")
        self.idle()


def deferred_failure() -> Deferred[str]:
    """A table that fails a little later."""
    table: Deferred[str] = Deferred()
    table.errback(ERROR)
    return table
