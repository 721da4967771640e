"""Compare our delivery agent with Postfix's smtp(8): messages per second, CPU time, memory per session.

Flow: a person, or a smoke check, runs this file as root; program.py takes over.
Sources: smtp(8), qmgr(8), smtp-sink(1).
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # What is measured is this checkout, from whatever directory the file is run and whatever is installed.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks.program", run_name="__main__")
