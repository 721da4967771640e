"""Which lines about TLS are wanted: the words of smtp_tls_loglevel.

Flow: tls/engine.py parses the setting once; whoever has something to tell asks whether its class is wanted.
Sources: postconf(5) smtp_tls_loglevel; TLS_README, "Client-side TLS activity logging".
"""

import enum
import re

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsLogLevelUnknown


class LogClass(enum.Flag):
    """A class of lines."""

    SUMMARY = enum.auto()
    """One line for each connection."""
    UNTRUSTED = enum.auto()
    """Why a server could not be verified, also where that is not demanded."""
    PEERCERT = enum.auto()
    """Names and fingerprints of the server's certificate."""
    CERTMATCH = enum.auto()
    """What it was that matched; with the names and fingerprints."""
    VERBOSE = enum.auto()
    """Each step of our own."""
    CACHE = enum.auto()
    """What the session cache does."""
    DANE = enum.auto()
    """TLSA records."""
    SSL_DEBUG = enum.auto()
    """Each step of the TLS library."""
    HANDSHAKE_DUMP = enum.auto()
    """The bytes of the handshake."""
    SESSION_DUMP = enum.auto()
    """All bytes."""


SILENT = LogClass(0)
"""No line is wanted."""

_DEBUG = LogClass.SUMMARY | LogClass.VERBOSE | LogClass.CACHE | LogClass.SSL_DEBUG
_EXPERT = _DEBUG | LogClass.HANDSHAKE_DUMP
_DEVELOPER = _EXPERT | LogClass.SESSION_DUMP

_WORDS = (
    {"0": SILENT, "none": SILENT}
    | dict.fromkeys(("1", "routine"), LogClass.SUMMARY)
    | dict.fromkeys(("2", "debug"), _DEBUG)
    | dict.fromkeys(("3", "ssl-expert"), _EXPERT)
    | dict.fromkeys((*"456789", "ssl-developer"), _DEVELOPER)
    | {
        "summary": LogClass.SUMMARY,
        "untrusted": LogClass.UNTRUSTED,
        "peercert": LogClass.PEERCERT,
        "certmatch": LogClass.CERTMATCH,
        "verbose": LogClass.VERBOSE,
        "cache": LogClass.CACHE,
        "dane": LogClass.DANE,
        "ssl-debug": LogClass.SSL_DEBUG,
        "ssl-handshake-packet-dump": LogClass.HANDSHAKE_DUMP,
        "ssl-session-packet-dump": LogClass.SESSION_DUMP,
    }
)


def parse_loglevel(text: str, emit: Emit, parameter: str = "smtp_tls_loglevel") -> LogClass:
    """Read words or numbers, in any case, between commas or blanks.

    Args:
        text: the value of the setting.
        emit: told of a word that there is not.
        parameter: what the setting is called.

    Returns:
        All classes that are wanted; none where a word is unknown: what was meant is not known then.
    """
    wanted = SILENT
    for word in re.findall(r"[^,\s]+", text):
        classes = _WORDS.get(word.lower())
        if classes is None:
            emit(TlsLogLevelUnknown(parameter, word, text))
            return SILENT
        wanted |= classes
    return wanted
