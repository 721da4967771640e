"""Read text in braces: ``{ ... }``, as table names have it.

Flow: the types whose name is itself the table (inline, static, unionmap, ...) take their names apart here.
Sources: postconf(5), "inline tables"; DATABASE_README(5); a running postmap(1).
"""

from twisted_mta.config.values import split_items
from twisted_mta.tables.opening import TableRequest

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
        BracesError: there is no opening or no closing brace, or something behind that.
    """
    if not text.startswith("{"):
        raise BracesError(f"no '{{' at start of text in \"{text}\"")
    end = end_of_braces(text)
    if not end:
        raise BracesError(f"missing '}}' in \"{text}\"")
    if end < len(text):
        raise BracesError(f"syntax error after '}}' in \"{text}\"")
    return text[1:-1].strip(WHITESPACE)


def list_items(request: TableRequest, form: str) -> tuple[str, ...]:
    """The items of a name ``{item, item ...}``; braces around an item are kept, as they protect what is in it.

    Args:
        request: has the name.
        form: what an item looks like, for the error.

    Returns:
        The items; there may be none.

    Raises:
        TableError: the name is not in braces.
    """
    name = request.name
    if name == "{}" or not name.startswith("{") or end_of_braces(name) != len(name):
        raise request.unusable(f'bad syntax: "{request.table}"; need "{request.type}:{{{form}...}}"')
    return split_items(name[1:-1])
