"""The messages that are sent: like mail, and the same in each run.

Flow: bench.py has one made for its row; postfix_instance.py submits it.
Sources: RFC 5322 section 2.1; RFC 2045 section 6.8.
"""

import base64
import random
from collections.abc import Callable

_HEADER = """\
From: Sender <sender@origin.example>
To: Recipient <recipient@bench.example>
Subject: A message of {octets} octets
MIME-Version: 1.0
Content-Type: {content_type}
Content-Transfer-Encoding: {encoding}

"""
_LETTERS = "etaoinshrdlu"
_BASE64_LINE_OCTETS = 57  # which become 76 characters, the longest line that RFC 2045 6.8 allows


def text_message(octets: int) -> bytes:
    """A text with words, lines and paragraphs of all lengths, lines that begin with a dot among them.

    Args:
        octets: the size of the body; up to a line more.
    """
    dice = random.Random(octets)
    lines, length = [], 0
    while length < octets:
        words = ["".join(dice.choices(_LETTERS, k=dice.randint(1, 10))) for _ in range(dice.randint(0, 11))]
        line = ("." if dice.random() < 0.01 else "") + " ".join(words) + "\n"
        lines.append(line)
        length += len(line)
    header = _HEADER.format(octets=octets, content_type="text/plain; charset=us-ascii", encoding="7bit")
    return (header + "".join(lines)).encode("ascii")


def base64_message(octets: int) -> bytes:
    """An attachment: lines of one length.

    Args:
        octets: the size of the encoded body; up to a line less.
    """
    dice = random.Random(octets)
    lines = octets // (_BASE64_LINE_OCTETS * 4 // 3 + 1)
    content = dice.randbytes(lines * _BASE64_LINE_OCTETS)
    header = _HEADER.format(octets=octets, content_type="application/octet-stream", encoding="base64")
    return header.encode("ascii") + base64.encodebytes(content)


MessageMaker = Callable[[int], bytes]
