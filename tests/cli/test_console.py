"""Where main.cf is looked for, and lines on stdout and stderr."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import captured
from twisted_mta.cli.console import complain, find_config_directory, show
from twisted_mta.config.settings import DEFAULT_CONFIG_DIRECTORY


class DirectoryTests(SynchronousTestCase):
    """The configuration directory."""

    def test_given(self) -> None:
        """What the command line says comes first."""
        found = find_config_directory(Path("/given"), {"MAIL_CONFIG": "/other"})
        self.assertEqual(found, Path("/given"))

    def test_environment(self) -> None:
        """MAIL_CONFIG counts even if there is nothing: then reading main.cf will say so (postconf(1))."""
        self.assertEqual(find_config_directory(None, {"MAIL_CONFIG": "/nowhere"}), Path("/nowhere"))

    def test_usual_place(self) -> None:
        """Postfix's own directory counts if there is a main.cf, else none does."""
        there = os.path.exists(DEFAULT_CONFIG_DIRECTORY / "main.cf")
        self.assertEqual(find_config_directory(None, {}), DEFAULT_CONFIG_DIRECTORY if there else None)


class OutputTests(SynchronousTestCase):
    """Lines."""

    def test_bytes(self) -> None:
        """Bytes that are no UTF-8 leave as they came, as from postconf(1) and postmap(1)."""
        shown = captured(lambda: show(["é\udcff\tx", ""]))
        self.assertEqual((shown.result, shown.octets), (True, b"\xc3\xa9\xff\tx\n\n"))

    def test_nobody_reads(self) -> None:
        """Once nobody reads on, it says so, and what is left over does not fail at the end."""
        reading, writing = os.pipe()
        os.close(reading)
        stream = io.TextIOWrapper(os.fdopen(writing, "wb"))
        with redirect_stdout(stream):
            self.assertFalse(show(["x" * 100_000] * 2))
        stream.close()

    def test_full(self) -> None:
        """Where there is no room, that is told, and the command ends with a status of its own."""
        stream = open("/dev/full", "w")  # noqa: SIM115 -- what is left in it must not fail at its end
        with redirect_stdout(stream), redirect_stderr(io.StringIO()) as told:
            ended = self.assertRaises(SystemExit, show, ["x" * 100_000])
        self.assertEqual(ended.code, os.EX_IOERR)
        self.assertEqual(told.getvalue(), "smtpdeliver: cannot write to stdout: No space left on device\n")
        stream.close()

    def test_complaint(self) -> None:
        """What could do harm to a terminal is taken out of complaints."""
        told = captured(lambda: complain("bad \x1b[2J \udcff"))
        self.assertEqual((told.octets, told.complaints), (b"", ["bad ?[2J ?"]))
