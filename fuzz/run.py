"""Run a fuzz target with atheris for some seconds.

    python -m fuzz.run [SECONDS [DIRECTORY]]

Inputs that lead somewhere new are kept in DIRECTORY, if it is given; one that breaks a property stays behind as ``crash-...``
in the working directory. Put it into fuzz/corpus/ together with the repair. Where there is no atheris, whose wheels are for
Linux and for some versions of Python only, it says so and does nothing.

Flow: .ci/run runs it for a few seconds, .ci/long for minutes; a person as long as it pleases.
Sources: the manuals of atheris and libFuzzer.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
DEFAULT_SECONDS = 10
_LONGEST_INPUT = 4096


def main(arguments: list[str]) -> int:
    """Fuzz; the exit status is libFuzzer's, or 0 where nothing could be done."""
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("skipped: needs atheris, which has no wheel for every Python (pip install atheris)\n")
        return 0
    seconds = int(arguments[0]) if arguments else DEFAULT_SECONDS
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["twisted_mta"], enable_loader_override=False):
        check: Callable[[bytes], None] = importlib.import_module("fuzz.dialog").check
    logging.disable()
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, *arguments[1:2], str(CORPUS)], check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
