"""Read what MIME headers say, as far as it decides how a message is taken apart and converted.

Flow: scanner.py asks for each Content-Type and Content-Transfer-Encoding header.
Sources: RFC 2045 sections 5.1 and 6.1; RFC 2046 sections 5.1 and 5.2; a running smtp(8), for what it makes of malformed ones.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

_CONTROLS = rb"\x00-\x1f\x7f"


def _token_pattern(specials: bytes) -> re.Pattern[bytes]:
    """A token, or a control character, which is one by itself."""
    return re.compile(rb"[^ " + _CONTROLS + re.escape(specials) + rb"]+|[" + _CONTROLS + rb"]")


_PARAMETER_TOKEN = _token_pattern(b'()<>@,;:\\"/[]?=')
_ENCODING_TOKEN = _token_pattern(b'()<>@,;:\\".[]')
_QUOTED = re.compile(rb'"((?:[^"\\]+|\\.)*)\\?"?', re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]+")
_ESCAPE_OR_FOLD = re.compile(rb"\\(.)|\n", re.DOTALL)
_SHORT_PARAMETER = 3  # attribute, "=", value; what else stands before the next semicolon means nothing


class PartType(enum.Enum):
    """What kind of part a Content-Type announces."""

    LEAF = "anything without parts"
    MULTIPART = "multipart/*"
    RFC822 = "message/rfc822"
    GLOBAL = "message/global"
    OTHER_MESSAGE = "message/partial and the like"


_MESSAGE_TYPES = {b"rfc822": PartType.RFC822, b"global": PartType.GLOBAL}

_IS_EIGHT_BIT = {b"7bit": False, b"8bit": True, b"binary": True, b"base64": False, b"quoted-printable": False}


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a structured header; `kind` is ``t`` for a plain one, ``q`` for a quoted one, else the special itself."""

    kind: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class ContentType:
    """What a Content-Type header says.

    Attributes:
        type: of the part.
        boundaries: the values of all boundary parameters of a multipart, in their order.
        is_digest: whether the parts of a multipart are messages unless they say something else.
    """

    type: PartType
    boundaries: tuple[bytes, ...] = ()
    is_digest: bool = False


def content_type(value: bytes) -> ContentType | None:
    """Read the value of a Content-Type header; it may be folded, with LF for the line ends.

    Returns:
        None for a type that has no parts and is not text: the default stays in force, which in a digest means that even an
        image is taken for a message, as smtp(8) does.
    """
    groups = _groups(value)
    head = groups[0]
    if not head:
        return ContentType(PartType.LEAF)
    if head[0].kind != b"t":
        return None
    major, subtype = head[0].text.lower(), _subtype(head)
    if major == b"text":
        return ContentType(PartType.LEAF)
    if major == b"message":
        return ContentType(_MESSAGE_TYPES.get(subtype, PartType.OTHER_MESSAGE))
    if major != b"multipart":
        return None
    found = (_boundary(group[:_SHORT_PARAMETER]) for group in groups[1:])
    boundaries = tuple(boundary for boundary in found if boundary is not None)
    return ContentType(PartType.MULTIPART, boundaries, subtype == b"digest")


def is_eight_bit(value: bytes) -> bool | None:
    """What a Content-Transfer-Encoding header says of its part: may it hold 8-bit data? None: it says nothing known."""
    first = next(_tokens(value, _ENCODING_TOKEN), None)
    if first is None or first.kind != b"t":
        return None
    return _IS_EIGHT_BIT.get(first.text.lower())


def _subtype(head: list[_Token]) -> bytes:
    if len(head) >= _SHORT_PARAMETER and head[1].kind == b"/" and head[2].kind == b"t":
        return head[2].text.lower()
    return b""


def _boundary(parameter: list[_Token]) -> bytes | None:
    if len(parameter) < _SHORT_PARAMETER:
        return None
    name, equals, value = parameter
    is_boundary = name.kind == b"t" and name.text.lower() == b"boundary" and equals.kind == b"="
    return value.text if is_boundary and value.kind in (b"t", b"q") else None


def _groups(value: bytes) -> list[list[_Token]]:
    """The tokens between semicolons."""
    groups: list[list[_Token]] = [[]]
    for token in _tokens(value, _PARAMETER_TOKEN):
        if token.kind == b";":
            groups.append([])
        else:
            groups[-1].append(token)
    return groups


def _tokens(value: bytes, plain: re.Pattern[bytes]) -> Iterator[_Token]:
    at = 0
    while at < len(value):
        if match := _BLANKS.match(value, at):
            at = match.end()
        elif match := plain.match(value, at):
            yield _Token(b"t", match[0])
            at = match.end()
        elif value[at : at + 1] == b"(":
            at = _end_of_comment(value, at)
        elif match := _QUOTED.match(value, at):
            yield _Token(b"q", _ESCAPE_OR_FOLD.sub(lambda found: found[1] or b"", match[1]))
            at = match.end()
        else:
            special = value[at : at + 1]
            yield _Token(special, special)
            at += 1


def _end_of_comment(value: bytes, at: int) -> int:
    """The position behind a comment, which may hold comments; one that is never closed takes all the rest."""
    depth = 0
    while at < len(value):
        character = value[at]
        if character == 0x5C:  # a backslash makes the next one ordinary
            at += 1
        elif character == 0x28:
            depth += 1
        elif character == 0x29:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(value)
