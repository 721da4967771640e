"""Read text in braces: ``{ ... }``, as table names have it.

Flow: the types whose name is itself the table (inline, static, unionmap, ...) take their names apart here.
Sources: postconf(5), "inline tables"; DATABASE_README(5); a running postmap(1).
"""

WHITESPACE = " \t\n\v\f\r"
"""What the C locale takes for white space."""


class BracesError(Exception):
    """Braces that do not match.

    Attributes:
        problem: what is wrong, with the text that is.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def end_of_braces(text: str) -> int:
    """Where the group that begins with the text's first character is over, just behind its ``}``; 0 if it never is."""
    depth = 0
    for at, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at + 1
    return 0


def inner_text(text: str) -> str:
    """What stands between the braces of ``{ text }``, without white space at its ends.

    Raises:
        BracesError: there is no closing brace, or something behind it.
    """
    end = end_of_braces(text)
    if not end:
        raise BracesError(f"missing '}}' in \"{text}\"")
    if end < len(text):
        raise BracesError(f"syntax error after '}}' in \"{text}\"")
    return text[1:-1].strip(WHITESPACE)
