"""Tests of the grammar of ``smtpdeliver``: twisted_mta.cli."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.cli import main


class GrammarTests(SynchronousTestCase):
    """What a command line may say."""

    def test_mistakes(self) -> None:
        """A mistake is told, with the grammar; the status is EX_USAGE, for sub-commands, too (sysexits.h)."""
        for words in (
            [],
            ["none"],
            ["--none"],
            ["config", "--none"],
            ["config", "--protocol", "http"],
            ["lookup"],
            ["lookup", "static:x"],
            ["send", "--none"],
        ):
            told = io.StringIO()
            with redirect_stderr(told), self.assertRaises(SystemExit) as caught:
                main(words)
            self.assertEqual(caught.exception.code, os.EX_USAGE, words)
            usage, mistake = told.getvalue().splitlines()[0], told.getvalue().splitlines()[-1]
            self.assertTrue(usage.startswith("usage: smtpdeliver"), usage)
            self.assertIn(": error: ", mistake)

    def test_help(self) -> None:
        """Whoever asks for help has made no mistake."""
        with redirect_stdout(io.StringIO()), self.assertRaises(SystemExit) as caught:
            main(["--version"])
        self.assertEqual(caught.exception.code, 0)
