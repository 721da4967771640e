r"""Mail addresses between their internal form (as stored) and the quoted forms of RFC 5321 and RFC 5322.

Flow: smtp/commands.py quotes envelope addresses; observe/maillog.py quotes what it shows.
Sources: RFC 5321 section 4.1.2; RFC 5322 section 3.2.3.
"""

import re

_BARE_LOCAL_PART = re.compile(r"(?!\.)(?!.*\.\.)(?!.*\.\Z)[^\x00-\x20\x7f<>()\[\]\\,;:@\"]+\Z", re.DOTALL)
_QUOTED_PIECE = re.compile(r'\\.|[^"\\@]+|.', re.DOTALL)
_QUOTING = re.compile(r'\\(.)|"', re.DOTALL)
_ESCAPE_5321 = re.compile(r'["\\\r\n]')
_ESCAPE_5322 = re.compile(r'["\\\r]')


def _quote(address: str, escape: re.Pattern[str]) -> str:
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if _BARE_LOCAL_PART.match(local):
        return address
    quoted = escape.sub(lambda match: "\\" + match[0], local)
    return f'"{quoted}"{at}{domain}'


def quote_5321(address: str) -> str:
    """The address as it stands in MAIL FROM and RCPT TO, without the angle brackets; only the local part may get quotes."""
    return _quote(address, _ESCAPE_5321) if address else ""


def quote_5322(address: str) -> str:
    """The address as it stands in a header or a log line; a source route in front (``@a,@b:``) stays outside the quotes."""
    if address.startswith("@") and (colon := address.find(":")) > 0:
        return address[: colon + 1] + (quote_5322(address[colon + 1 :]) or '""')
    return _quote(address, _ESCAPE_5322) if address else ""


def unquote_5322(address: str) -> str:
    """The internal form of an address in quoted form: what stands behind the last ``@`` outside of quotes stays as it is."""
    end, in_quotes = len(address), False
    for match in _QUOTED_PIECE.finditer(address):
        if match[0] == '"':
            in_quotes = not in_quotes
        elif match[0] == "@" and not in_quotes:
            end = match.start()
    return _QUOTING.sub(r"\1", address[:end]) + address[end:]


def domain_of(address: str) -> str:
    """What follows the last ``@``; empty if there is none."""
    return address.rpartition("@")[2] if "@" in address else ""
