"""Commands that run in the reactor."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


class RunningTests(SynchronousTestCase):
    """`run_in_reactor`, in a process of its own, as a reactor runs only once."""

    def test_full(self) -> None:
        """Where output cannot be written, that is told in words, and the status is that of sysexits.h."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "main.cf").write_text("myhostname = client.example\n")
        words = ["--config-directory", str(directory), "lookup", "static:x", "key"]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "twisted_mta.cli", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.assertEqual(done.stderr, "smtpdeliver: cannot write to stdout: No space left on device\n")
        self.assertEqual(done.returncode, os.EX_IOERR)
