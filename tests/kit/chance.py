"""How much chance and how many repetitions tests have.

TWISTED_MTA_LONG multiplies repetitions; TWISTED_MTA_SEED repeats a run. A short run takes the same course each time, so that it
fails for what was changed; long ones take a new course each time, and find what nobody has thought of.

Flow: interop tests that compare us with Postfix on random input import LONG and SEED.
"""

import os
import random

LONG = int(os.environ.get("TWISTED_MTA_LONG", "1"))
"""Multiplies how many messages, or how often, where a test is also a soak test."""


def _seed() -> int:
    given = int(os.environ.get("TWISTED_MTA_SEED", "0"))
    return given or (random.SystemRandom().randrange(1, 2**32) if LONG > 1 else 1)


SEED = _seed()
"""Where the course of chance begins; what fails names it."""
