"""The ``smtpdeliver`` command: one grammar for all sub-commands.

Flow: `main` parses the words and runs the module of the sub-command, which starts the reactor.
Sources: sysexits.h for the exit status.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from twisted_mta import __version__
from twisted_mta.cli import config, demo, lookup, oauth, send, tls


class Grammar(argparse.ArgumentParser):
    """A grammar whose mistakes have the status that sysexits.h gives them, and not argparse's own."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The grammar."""
    top = Grammar(prog="smtpdeliver", description="Deliver mail over SMTP and LMTP.")
    top.add_argument("--version", action="version", version=f"twisted_mta {__version__}")
    top.add_argument(
        "--config-directory", type=Path, metavar="DIR", help="Postfix's configuration directory; default: no main.cf"
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (demo, send, config, lookup, tls, oauth):
        module.add_to(commands)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        words: the command line without the program's name; default: that of the process.

    Returns:
        The exit status by sysexits; 0: all is well.
    """
    arguments = parser().parse_args(words)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
