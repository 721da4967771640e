"""``smtpdeliver lookup``: what it shows, what it complains of, and how it ends."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import Captured, captured, run_command
from tests.kit.private_reactor import PrivateReactor
from twisted_mta.cli.input_lines import lines_of
from twisted_mta.cli.lookup import Form, as_json, context_for, each_of, key_and_value, look_up, value_alone
from twisted_mta.config.settings import load_settings
from twisted_mta.interfaces import TableError
from twisted_mta.tables.opening import TableContext

T = TypeVar("T")


class LookupCase(SynchronousTestCase):
    """A table of text, and a configuration."""

    def setUp(self) -> None:
        """Write the table."""
        self.table = Path(self.mktemp()).absolute()
        self.table.write_text("a 1\nb two words\n")

    def context(self, spec: str, *overrides: tuple[str, str]) -> TableContext:
        """What a table is opened with."""
        return context_for(spec, load_settings(None, overrides=overrides), None)

    def look_up(
        self, spec: str, *keys: str, form: Form = key_and_value, context: TableContext | None = None
    ) -> Captured[int]:
        """Look up keys in a table that answers at once."""
        job = look_up(context or self.context(spec), spec, each_of(keys), form)
        return captured(lambda: self.successResultOf(Deferred.fromCoroutine(job)))

    def check(self, shown: Captured[int], octets: bytes, status: int, *complaints: str) -> None:
        """Compare all that came of it."""
        self.assertEqual((shown.octets, shown.result, shown.complaints), (octets, status, list(complaints)))


class FormTests(LookupCase):
    """What is shown (postmap(1), option -q)."""

    def test_value_alone(self) -> None:
        """Who asks for one key gets the value; or nothing, and status 1."""
        self.check(self.look_up(f"texthash:{self.table}", "B", form=value_alone), b"two words\n", 0)
        self.check(self.look_up(f"texthash:{self.table}", "c", form=value_alone), b"", 1)

    def test_keys_and_values(self) -> None:
        """Of several keys those that are found are shown as they were given; status 0 if there is one."""
        self.check(self.look_up(f"texthash:{self.table}", "A", "c", "", "b", "A"), b"A\t1\nb\ttwo words\nA\t1\n", 0)
        self.check(self.look_up(f"texthash:{self.table}", "c", "d"), b"", 1)

    def test_json(self) -> None:
        """As JSON, keys that are not found are shown, too."""
        shown = self.look_up(f"texthash:{self.table}", "a", "c", form=as_json)
        self.check(shown, b'{"key": "a", "value": "1"}\n{"key": "c", "value": null}\n', 0)

    def test_bytes(self) -> None:
        """Values leave with the bytes that they have in the table."""
        self.table.write_bytes(b"a \xff\n")
        context = self.context("", ("smtputf8_enable", "no"))
        self.check(self.look_up(f"texthash:{self.table}", "a", context=context), b"a\t\xff\n", 0)

    def test_null_character(self) -> None:
        """A key ends at a null character."""
        self.check(self.look_up(f"texthash:{self.table}", "a\0b", "\0"), b"a\t1\n", 0)

    def test_empty_value(self) -> None:
        """An empty value is found, but nobody may use it: postmap(1) says so."""
        spec = "inline:{a=}"
        self.check(
            self.look_up(spec, "a", form=value_alone),
            b"\n",
            0,
            f"warning: table {spec}: key a: empty string result is not allowed",
            f"warning: table {spec} should return NO RESULT in case of NOT FOUND",
        )


class OpeningTests(LookupCase):
    """What a table is opened with."""

    def test_relative_names(self) -> None:
        """Relative names begin in the current directory, not in that of the queue."""
        name = os.path.relpath(self.table)
        self.check(self.look_up(f"texthash:{name}", "a"), b"a\t1\n", 0)

    def test_proxy(self) -> None:
        """With proxymap(8), whose socket is in the queue, relative names are those that it would open."""
        for spec in ("proxy:hash:x", "unionmap:{proxy:hash:x, hash:y}"):
            context = self.context(spec, ("queue_directory", "/queue"))
            self.assertEqual(context.queue_directory, Path("/queue"))

    def test_parameters(self) -> None:
        """Settings have their effect: without smtputf8_enable only letters of ASCII are folded."""
        self.table.write_text("ä 1\n")
        spec = f"texthash:{self.table}"
        self.check(self.look_up(spec, "Ä"), "Ä\t1\n".encode(), 0)
        self.check(self.look_up(spec, "Ä", context=self.context(spec, ("smtputf8_enable", "no"))), b"", 1)


class FailureTests(LookupCase):
    """What goes wrong: a complaint, and status 1, as postmap(1) has it."""

    def test_cannot_be_opened(self) -> None:
        """A table that cannot be opened, is of no known type, or has no such name."""
        for spec, complaint in (
            ("texthash:/nowhere", "open database /nowhere: No such file or directory"),
            ("bogus:x", "unsupported dictionary type: bogus"),
            ("x", 'open dictionary: expecting "type:name" form instead of "x"'),
            ("pipemap:{static:a, texthash:/nowhere}", "open database /nowhere: No such file or directory"),
        ):
            self.check(self.look_up(spec, "a"), b"", 1, complaint)

    def test_configuration(self) -> None:
        """Without a main.cf that can be read, or with a malformed option, no table is opened."""
        missing = Path(self.mktemp()).absolute()
        unreadable = run_command("--config-directory", missing, "lookup", "static:x", "a")
        self.check(unreadable, b"", 1, f"open {missing}/main.cf: No such file or directory")
        malformed = run_command("lookup", "-o", "x", "static:x", "a")
        self.check(malformed, b"", 1, "invalid \"-o x\" option value: missing '=' after attribute name")

    def test_lookup_fails(self) -> None:
        """A lookup that fails ends it, whatever was found before."""
        shown = self.look_up("fail:x", "a", "b")
        self.check(shown, b"", 1, "table fail:x: query error: lookups always fail")

    def test_warnings(self) -> None:
        """What the table says is shown, printable; a key that is no UTF-8 is not found."""
        shown = self.look_up("static:x", "\udcff", "a")
        complaint = 'warning: static:x: non-UTF-8 key "?": malformed UTF-8 or invalid codepoint'
        self.check(shown, b"a\tx\n", 0, complaint)


class WaitingTests(LookupCase):
    """Tables that answer later, and keys that come later."""

    def test_later_answer(self) -> None:
        """The answer of a table that is elsewhere is waited for."""
        waiting: list[Deferred[str | None]] = []

        def in_thread(work: Callable[[], T]) -> Deferred[T]:
            done: Deferred[T] = Deferred()
            waiting.append(done)  # type: ignore[arg-type]  # lookups give texts
            return done

        spec = "unix:passwd.byname"
        context = replace(self.context(spec), in_thread=in_thread, reactor=Clock())
        job = Deferred.fromCoroutine(look_up(context, spec, each_of(["a", "b"]), key_and_value))
        self.assertNoResult(job)
        self.assertEqual(captured(lambda: waiting[0].callback("found")).octets, b"a\tfound\n")
        self.assertNoResult(job)
        self.assertEqual(captured(lambda: waiting[1].callback(None)).octets, b"")
        self.assertEqual(self.successResultOf(job), 0)

    def test_later_failure(self) -> None:
        """A lookup that fails later is told like any other."""

        def in_thread(work: Callable[[], T]) -> Deferred[T]:
            return fail(TableError("unix:passwd.byname", "out of order"))

        spec = "unix:passwd.byname"
        shown = self.look_up(spec, "a", "b", context=replace(self.context(spec), in_thread=in_thread, reactor=Clock()))
        self.check(shown, b"", 1, f"table {spec}: query error: out of order")

    def test_keys_from_input(self) -> None:
        """A key is looked up before the next one is there, so that a program can ask one by one."""
        reactor = PrivateReactor()
        self.addCleanup(reactor.close)
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        found: list[tuple[str, str | None]] = []
        done: list[object] = []

        def form(key: str, value: str | None) -> list[str]:
            found.append((key, value))
            return key_and_value(key, value)

        def run() -> None:
            spec = f"texthash:{self.table}"
            job = look_up(self.context(spec), spec, lines_of(reactor, reading), form)
            Deferred.fromCoroutine(job).addBoth(done.append)
            os.write(writing, b"a\nx\nb")
            reactor.until(lambda: len(found) == 2)
            os.close(writing)
            reactor.until(lambda: done)

        self.assertEqual(captured(run).octets, b"a\t1\nb\ttwo words\n")
        self.assertEqual((found, done), ([("a", "1"), ("x", None), ("b", "two words")], [0]))

    def test_unreadable_input(self) -> None:
        """Keys that cannot be read are told."""
        reactor = PrivateReactor()
        self.addCleanup(reactor.close)
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        done: list[object] = []

        def run() -> None:
            job = look_up(self.context("static:x"), "static:x", lines_of(reactor, writing), key_and_value)
            Deferred.fromCoroutine(job).addBoth(done.append)
            reactor.until(lambda: done)

        self.assertEqual((captured(run).complaints, done), (["stdin: Bad file descriptor"], [1]))
