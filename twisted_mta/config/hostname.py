"""Whether a text is a host name.

Flow: checks.py judges myhostname and mydomain with it; rooms that meet foreign names may do so, too.
Sources: RFC 1035 section 2.3.1, RFC 1123 section 2.1; lenient about underscores, as Postfix is.
"""

LONGEST_NAME = 255
LONGEST_LABEL = 63


def hostname_problem(name: str) -> str:
    """What is wrong with a host name, as Postfix says it before the name; empty if nothing is.

    Args:
        name: in ASCII form; a final dot is wrong.
    """
    data = name.encode("utf-8", "surrogateescape")
    if not 1 <= len(data) <= LONGEST_NAME:
        return f"bad length {len(data)} for"
    wrong = next((byte for byte in data if not (chr(byte).isalnum() and byte < 128) and byte not in b"-_."), None)
    if wrong is not None:
        return f"invalid character {wrong}(decimal)"
    labels = name.split(".")
    if not all(labels):
        return "misplaced delimiter"
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return "misplaced hyphen"
    if any(len(label) > LONGEST_LABEL for label in labels):
        return "hostname label too long"
    if all(label.isdigit() for label in labels):
        return "numeric hostname"
    return ""
