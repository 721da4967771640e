"""Whether the name that a setting gives to this host can be a host name.

Flow: checks.py judges myhostname and mydomain with it.
Sources: RFC 1035 section 2.3.1, RFC 1123 section 2.1; lenient about underscores, as Postfix is, whose words these are.
"""

import re

LONGEST_NAME = 255

_PROBLEMS = (
    (re.compile(r"[A-Za-z0-9_-]{64}"), "hostname label too long"),
    (re.compile(r"(?:\A|(?<=\.))-|-(?=\.|\Z)"), "misplaced hyphen"),
    (re.compile(r"\A\.|(?<=\.)\.|\.\Z"), "misplaced delimiter"),
    (re.compile(r"[^A-Za-z0-9_.-]"), "invalid character"),
)
"""What may be wrong; where each match ends is the place of the mistake."""


def hostname_problem(name: str) -> str:
    """What is wrong with a host name: the first thing, and the name, such as ``misplaced hyphen: -a``; empty if all is right.

    Args:
        name: in ASCII form; a final dot is wrong.
    """
    found = [(match.end(), problem) for pattern, problem in _PROBLEMS if (match := pattern.search(name))]
    if found:
        # Of two mistakes at one place the first of the table counts.
        end, problem = min(found, key=lambda each: each[0])
        if problem == "invalid character":
            problem += f" {name[end - 1].encode('utf-8', 'surrogateescape')[0]}(decimal)"
        return f"{problem}: {name}"
    if len(name) > LONGEST_NAME:
        return f"bad length {len(name)} for {name[:100]}..."
    if not name.strip("0123456789."):
        return f"numeric hostname: {name}" if name else "empty hostname"
    return ""
