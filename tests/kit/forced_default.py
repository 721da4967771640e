"""A check of tests: with its parameter at the default, the test of a parameter's effect must fail.

Run as ``python -m tests.kit.forced_default [NAME...]``; without names, for all of tests/config/effects.py. It says which tests do
not notice, and ends with status 1 if there are any.

Flow: tox runs it (environment rows). All is imported once; then each test runs in a child of this process, in which the row of
its parameter is made deaf. Before that all tests run with rows that hear, in a few children: what fails then proves nothing.
"""

import os
import signal
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from twisted.trial import reporter, runner

from tests.config.effects import TESTS, TESTS_BY_LMTP
from twisted_mta import generations  # noqa: F401 - so that no child has to read all this again
from twisted_mta.config.evaluation import Evaluation
from twisted_mta.config.main_cf import Entry
from twisted_mta.config.parameter import Kind
from twisted_mta.config.settings import ROWS_BY_NAME

_AT_A_TIME = 2 * (os.cpu_count() or 1)  # half of them wait for something
_PATIENCE_SECONDS = 5  # with a deaf test, which has no reason to end soon
_SECONDS = 60
_SECONDS_FOR_ALL = 600

_PASSED, _FAILED, _BROKEN = 0, 3, 4

_NO_FACTS = {"process_name": "", "service_name": "", "process_id": "0", "config_directory": ""}


def make_deaf(name: str) -> None:
    """Let a row have its default from now on, in both protocols, whatever is configured; a fact is not known then.

    Args:
        name: of the row.
    """
    row = ROWS_BY_NAME[name]
    names = {row.name_in("smtp"), row.name_in("lmtp")}
    if row.kind is Kind.FACT:
        _forget_fact(name)
        return
    define, override = Evaluation._define, Evaluation.override

    def define_others(self: Evaluation, entries: dict[str, Entry]) -> None:
        define(self, {key: entry for key, entry in entries.items() if key not in names})

    def override_others(self: Evaluation, name: str, value: str) -> None:
        if name not in names:
            override(self, name, value)

    # What is tested is whether anybody notices.
    Evaluation._define = define_others  # type: ignore[method-assign]
    Evaluation.override = override_others  # type: ignore[method-assign]


def _forget_fact(name: str) -> None:
    initialise = Evaluation.__init__

    def initialise_without(self: Evaluation, rows: Any, protocol: str, facts: Mapping[str, str]) -> None:
        initialise(self, rows, protocol, {**facts, name: _NO_FACTS[name]})

    Evaluation.__init__ = initialise_without  # type: ignore[method-assign]


def _cases(suite: Any) -> Iterator[Any]:
    """All tests of a suite."""
    if isinstance(suite, unittest.TestSuite):
        for each in suite:
            yield from _cases(each)
    else:
        yield suite


def _run(tests: Sequence[str], stream: TextIO, patience_seconds: float | None = None) -> bool:
    """Run tests in this process, with trial; returns whether all passed, none of them skipped."""
    suite = runner.TestSuite(runner.TestLoader().loadByName(test) for test in tests)
    if patience_seconds is not None:
        for case in _cases(suite):
            case.timeout = patience_seconds
    with tempfile.TemporaryDirectory() as folder:
        trial = runner.TrialRunner(reporter.Reporter, stream=stream, workingDirectory=str(Path(folder, "trial")))
        result: Any = trial.run(suite)
        os.chdir("/")
    return bool(result.wasSuccessful() and result.testsRun == len(tests) and not result.skips)


def _in_child(seconds: int, do: Callable[[TextIO], bool], output: int) -> int:
    """Start a child that does something; it is killed when time is up.

    Returns:
        Its process id; it ends with _PASSED, _FAILED, or in another way if it could not do it.
    """
    child = os.fork()
    if not child:
        _be_child(seconds, do, output)
    return child


def _be_child(seconds: int, do: Callable[[TextIO], bool], output: int) -> NoReturn:
    status = _BROKEN
    try:
        signal.alarm(seconds)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = _PASSED if do(sys.stdout) else _FAILED
        sys.stdout.flush()
    finally:
        os._exit(status)


def _all_hear(tests: Sequence[str]) -> bool:
    """Whether all tests pass as they are; what fails is shown."""
    slices = [tests[first::_AT_A_TIME] for first in range(_AT_A_TIME) if tests[first:]]
    with ExitStack() as files:
        outputs = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in slices]
        children = [
            _in_child(_SECONDS_FOR_ALL, partial(_run, those), output.fileno())
            for those, output in zip(slices, outputs, strict=True)
        ]
        failed = [output for child, output in zip(children, outputs, strict=True) if os.waitpid(child, 0)[1]]
        for output in failed:
            output.seek(0)
            print(output.read())  # noqa: T201 - a program for people
    return not failed


def _unnoticed(chosen: Sequence[tuple[str, str]]) -> int:
    """How many tests pass without their parameters, each of which is told.

    Args:
        chosen: parameters with their tests.
    """
    waiting, running, unnoticed = list(chosen), dict[int, tuple[str, str]](), 0
    null = os.open(os.devnull, os.O_WRONLY)
    while waiting or running:
        while waiting and len(running) < _AT_A_TIME:
            name, test = waiting.pop(0)
            running[_in_child(_SECONDS, partial(_run_deaf, name, test), null)] = name, test
        child, status = os.wait()
        name, test = running.pop(child)
        outcome = os.waitstatus_to_exitcode(status)
        if outcome != _FAILED:
            unnoticed += 1
            what = "passes" if outcome == _PASSED else "cannot be run"
            print(f"{name}: {test} {what} without it")  # noqa: T201 - a program for people
    os.close(null)
    return unnoticed


def _run_deaf(name: str, test: str, stream: TextIO) -> bool:
    make_deaf(name)
    return _run([test], stream, _PATIENCE_SECONDS)


def main(names: Sequence[str]) -> int:
    """Check some parameters, or all."""
    # A reactor that children share would be none.
    assert "twisted.internet.reactor" not in sys.modules
    if unknown := set(names) - set(TESTS):
        print(f"no test of {', '.join(sorted(unknown))}")  # noqa: T201
        return 1
    chosen = [(name, test) for tests in (TESTS, TESTS_BY_LMTP) for name, test in tests.items()]
    chosen = [(name, test) for name, test in chosen if not names or name in names]
    if not _all_hear(sorted({test for _, test in chosen})):
        return 1
    unnoticed = _unnoticed(chosen)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} tests notice that their parameter has its default")  # noqa: T201
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
