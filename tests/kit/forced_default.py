"""A check of tests: with its parameter at the default, the test of a parameter's effect must fail.

Run as ``python -m tests.kit.forced_default [NAME...]``; without names, for all of tests/tls/test_rows.py and
tests/sasl/test_rows.py. It says which tests do not notice, and ends with status 1 if there are any.

Flow: tox runs it (environment rows); each test runs in a process of its own, in which the row of the parameter is made deaf.
"""

import os
import subprocess
import sys
from typing import Any

from tests.sasl.test_rows import TESTS as TESTS_OF_LOGINS
from tests.tls.test_rows import TESTS as TESTS_OF_TLS
from twisted_mta.config.evaluation import Evaluation
from twisted_mta.config.parameter import Parameter

TESTS = TESTS_OF_TLS | TESTS_OF_LOGINS

_AT_A_TIME = os.cpu_count() or 1


def make_deaf(name: str) -> None:
    """Let a row have its default from now on, whatever is configured."""
    load = Evaluation.load

    def load_deaf(self: Evaluation, row: Parameter[Any]) -> None:
        if row.name == name:
            self._variables.pop(name, None)
        load(self, row)

    Evaluation.load = load_deaf  # type: ignore[method-assign]  # what is tested is whether anybody notices


def _run_deaf(name: str, test: str) -> None:
    """Run a test in this process, with trial."""
    from twisted.scripts import trial

    make_deaf(name)
    sys.argv = ["trial", "--reporter=minimal", f"--temp-directory=_trial_temp.{os.getpid()}", test]
    trial.run()


def main(names: list[str]) -> int:
    """Check some parameters, or all."""
    chosen = {name: TESTS[name] for name in names or TESTS}
    waiting = list(chosen.items())
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    unnoticed = []
    while waiting or running:
        while waiting and len(running) < _AT_A_TIME:
            name, test = waiting.pop(0)
            command = [sys.executable, "-m", "tests.kit.forced_default", "--deaf", name, test]
            running.append((name, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))
        name, process = running.pop(0)
        if process.wait() == 0:
            unnoticed.append(name)
            print(f"{name}: {chosen[name]} passes without it")  # noqa: T201 - a program for people
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} tests notice that their parameter has its default")  # noqa: T201
    return 1 if unnoticed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--deaf"]:
        _run_deaf(*sys.argv[2:4])
    sys.exit(main(sys.argv[1:]))
