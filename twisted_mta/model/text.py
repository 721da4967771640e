"""The two crossings between wire bytes and text.

Flow: whatever reads bytes (queue file, attribute protocol, replies) calls `to_text`; whatever writes them calls `to_wire`.
The pair is lossless for every byte sequence, so that an address with odd bytes leaves as it came.
"""


def to_text(data: bytes) -> str:
    """Decode wire bytes; bytes that are not UTF-8 become surrogates, which `to_wire` turns back."""
    return data.decode("utf-8", "surrogateescape")


def to_wire(text: str) -> bytes:
    """Encode text for the wire: the inverse of `to_text`."""
    return text.encode("utf-8", "surrogateescape")


def octets_in(text: str) -> int:
    """How many octets a text has on the wire."""
    return len(text) if text.isascii() else len(to_wire(text))


def first_octets(text: str, count: int) -> str:
    """The beginning of a text, as log lines show it: Postfix counts octets, and may cut a character in two."""
    return text[:count] if text.isascii() else to_text(to_wire(text)[:count])


def printable(text: str, *, utf8: bool = True) -> str:
    """Replace each character that could do harm in a log line or a terminal by ``?``.

    Args:
        text: any text, surrogates of undecodable bytes included.
        utf8: whether printable characters outside ASCII may stay (Postfix: smtputf8_enable).

    Returns:
        The same number of characters; only printable ones, and blanks.
    """
    if text.isascii():
        if text.isprintable():
            return text
        return "".join(c if " " <= c <= "~" else "?" for c in text)
    if not utf8:
        return "".join(c if " " <= c <= "~" else "?" * len(to_wire(c)) for c in text)
    # Control characters of C1, line separators and the marks that reorder text are no more printable than those of C0.
    return "".join(c if " " <= c <= "~" or (c > "\x9f" and c.isprintable()) or c in "\xa0\u3000" else "?" for c in text)
