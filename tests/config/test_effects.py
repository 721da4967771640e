"""Every parameter has a test of what it does, or a reason why it does nothing."""

import importlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.config.effects import CASES, ELSEWHERE, IN_SMTP_ALONE, NO_EFFECT, TESTS, TESTS_BY_LMTP
from twisted_mta.config.evaluation import evaluate
from twisted_mta.config.parameter import Kind
from twisted_mta.config.settings import ROWS, ROWS_BY_NAME

TEXTS = {Kind.INTEGER: "77777", Kind.LONG: "77777", Kind.TIME: "77777s"}

SAYS_NOTHING_IS_DONE = "no effect|for expansions only"


def named(test: str) -> Any:
    """What a dotted name of a test stands for; None: there is no such test."""
    module, case, method = test.rsplit(".", 2)
    return getattr(getattr(importlib.import_module(module), case, None), method, None)


def value(name: str, protocol: str, **main_cf: str) -> object:
    """What a row is evaluated to, whatever else may be wrong."""
    return evaluate(ROWS, None, protocol, "", list(main_cf.items())).values.get(name)


def another_text(name: str) -> str:
    """A text that the row takes, and that does not mean its default in SMTP."""
    row = ROWS_BY_NAME[name]
    words = [TEXTS[row.kind]] if row.kind in TEXTS else [*row.accepts.split(", "), "x"]
    return next(word for word in words if value(name, "smtp", **{name: word}) not in (None, value(name, "smtp")))


class EffectsTests(SynchronousTestCase):
    """The table, and the registry."""

    def test_every_row_has_a_test(self) -> None:
        """Or a reason; never both. Nothing else is in the table."""
        self.assertEqual(set(ROWS_BY_NAME) - set(TESTS) - set(NO_EFFECT), set())
        self.assertEqual(set(TESTS) & set(NO_EFFECT), set())
        self.assertEqual((set(TESTS) | set(NO_EFFECT) | set(ELSEWHERE)) - set(ROWS_BY_NAME), set())

    def test_tests_exist(self) -> None:
        """Each test is there."""
        for tests in (TESTS, TESTS_BY_LMTP):
            self.assertEqual({name: test for name, test in tests.items() if not callable(named(test))}, {})
        self.assertEqual(set(IN_SMTP_ALONE) - set(TESTS), set())

    def test_names_mean_what_they_say(self) -> None:
        """A test that bears the name of a parameter is the test of that parameter."""
        cases = {*CASES, *(test.rpartition(".")[0] for test in TESTS.values() if "arameters" in test)}
        for case in sorted(cases):
            module, _, name = case.rpartition(".")
            for method in dir(getattr(importlib.import_module(module), name)):
                parameter = method.removeprefix("test_")
                if method.startswith("test_") and parameter in ROWS_BY_NAME:
                    self.assertIn(TESTS.get(parameter, "").rpartition(".")[0], self.bases(case), method)

    def bases(self, case: str) -> list[str]:
        """The names of a test case and of those that it inherits from."""
        module, _, name = case.rpartition(".")
        return [f"{each.__module__}.{each.__name__}" for each in getattr(importlib.import_module(module), name).__mro__]

    def test_documentation(self) -> None:
        """What a row says of itself agrees: it has no effect, or says nothing like that."""
        for row in ROWS:
            if row.name in NO_EFFECT:
                self.assertRegex(row.doc, SAYS_NOTHING_IS_DONE, row.name)
            elif row.kind is not Kind.LEGACY:
                self.assertNotRegex(row.doc, SAYS_NOTHING_IS_DONE, row.name)


class MirrorTests(SynchronousTestCase):
    """smtp(8) as lmtp(8): each smtp_ parameter has an lmtp_ one, which is read in its place and in the same way."""

    def test_every_mirror(self) -> None:
        """Under its LMTP name a row has the value that it has under its SMTP name in SMTP, and each name counts in one only."""
        mirrors = [row for row in ROWS if row.lmtp_name not in (None, row.name) and row.kind is not Kind.LEGACY]
        self.assertGreater(len(mirrors), 100)
        for row in mirrors:
            text = another_text(row.name)
            meant = value(row.name, "smtp", **{row.name: text})
            assert row.lmtp_name is not None
            self.assertEqual(value(row.name, "lmtp", **{row.lmtp_name: text}), meant, row.name)
            usual = value(row.name, "lmtp")
            self.assertEqual(value(row.name, "lmtp", **{row.name: text}), usual, row.name)
            self.assertEqual(value(row.name, "smtp", **{row.lmtp_name: text}), value(row.name, "smtp"), row.name)

    def test_not_read_in_lmtp(self) -> None:
        """What LMTP does not know has its default there, whatever is written under either name."""
        for row in ROWS:
            if row.lmtp_name is None and row.kind is not Kind.LEGACY:
                text = another_text(row.name)
                written = {row.name: text, f"lmtp_{row.name.removeprefix('smtp_')}": text}
                self.assertEqual(value(row.name, "lmtp", **written), value(row.name, "lmtp"), row.name)
