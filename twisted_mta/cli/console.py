"""What commands that show something have in common: where main.cf is, lines on stdout, complaints on stderr.

Flow: cli/config.py and cli/lookup.py use it.
Sources: postconf(1) and postmap(1), whose output is the text of main.cf and of tables, byte for byte.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted_mta.config.settings import default_config_directory
from twisted_mta.model.text import printable, to_wire

USUAL_DIRECTORY = (
    "Without --config-directory: that of MAIL_CONFIG in the environment, or /etc/postfix if it has a main.cf."
)
"""For people: what `find_config_directory` finds."""


def find_config_directory(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration directory to read.

    Args:
        given: what the command line says.
        environment: may name another in MAIL_CONFIG.

    Returns:
        What was given; else what MAIL_CONFIG names; else Postfix's own directory if main.cf is there; else None.
    """
    if given is not None:
        return given
    usual = default_config_directory(environment)
    # A directory that somebody has named is not passed over in silence: reading it will say that main.cf is not there.
    return usual if environment.get("MAIL_CONFIG") or os.path.exists(usual / "main.cf") else None


def show(lines: Iterable[str]) -> bool:
    """Write lines to stdout, with the bytes that they were read from.

    Returns:
        Whether somebody reads on; no longer behind head(1), which ends when it has enough.

    Raises:
        SystemExit: it cannot be written, which has been told; with the status of sysexits.h.
    """
    try:
        for line in lines:
            sys.stdout.buffer.write(to_wire(line) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _write_no_more()
        return False
    except OSError as error:
        _write_no_more()
        complain(f"cannot write to stdout: {error.strerror}")
        raise SystemExit(os.EX_IOERR) from None
    return True


def _write_no_more() -> None:
    """Let go of what is left: it would be written at the end of the process, and fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Write a line to stderr, with nothing in it that could do harm to a terminal."""
    print(f"smtpdeliver: {printable(text)}", file=sys.stderr)
