"""Option bits of OpenSSL: what main.cf turns off and on.

Flow: tls/contexts.py asks for the bits once; all contexts have the same, besides those of protocol versions.
Sources: postconf(5) tls_disable_workarounds, tls_ssl_options; SSL_CTX_set_options(3).
"""

import re
from collections.abc import Mapping

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsOptionUnknown
from twisted_mta.tls.library import OP_ALL
from twisted_mta.tls.protocols import OFF_BITS

_SAFARI = 0x40

WORKAROUNDS = {
    "MICROSOFT_SESS_ID_BUG": 0,
    "NETSCAPE_CHALLENGE_BUG": 0,
    "LEGACY_SERVER_CONNECT": 0x4,
    "NETSCAPE_REUSE_CIPHER_CHANGE_BUG": 0,
    "CVE-2010-4180": 0,
    "SSLREF2_REUSE_CERT_TYPE_BUG": 0,
    "MICROSOFT_BIG_SSLV3_BUFFER": 0,
    "MSIE_SSLV2_RSA_PADDING": 0,
    "CVE-2005-2969": 0,
    "SSLEAY_080_CLIENT_DH_BUG": 0,
    "TLS_D5_BUG": 0,
    "TLS_BLOCK_PADDING_BUG": 0,
    "TLS_ROLLBACK_BUG": 0,
    "DONT_INSERT_EMPTY_FRAGMENTS": 0x800,
    "CRYPTOPRO_TLSEXT_BUG": 0x80000000,
    "TLSEXT_PADDING": 0x10,
}
"""What tls_disable_workarounds can name; those without a bit are gone from the library."""

OPTIONS = {
    "LEGACY_SERVER_CONNECT": 0x4,
    "NO_TICKET": 0x4000,
    "NO_COMPRESSION": 0x20000,
    "NO_RENEGOTIATION": 0x40000000,
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION": 0x10000,
    "PRIORITIZE_CHACHA": 0x200000,
    "ENABLE_MIDDLEBOX_COMPAT": 0x100000,
}
"""What tls_ssl_options can name."""

_CIPHER_SERVER_PREFERENCE = 0x400000
_IGNORE_UNEXPECTED_EOF = 0x80
_NOT_FOR_EVERYBODY = OP_ALL | OFF_BITS | _CIPHER_SERVER_PREFERENCE | _IGNORE_UNEXPECTED_EOF
"""What tls_ssl_options cannot turn on: other parameters are for that."""

_ALWAYS = _IGNORE_UNEXPECTED_EOF | OPTIONS["NO_RENEGOTIATION"]


def option_bits(settings: Settings, emit: Emit) -> int:
    """All bits to be set.

    Args:
        settings: for tls_disable_workarounds and tls_ssl_options.
        emit: told of words that mean nothing; the others still count.
    """
    off = _mask(settings, "tls_disable_workarounds", settings.tls_disable_workarounds, WORKAROUNDS, emit)
    if off is not None:
        off |= _SAFARI  # its fault has no name, but is one that is disabled with the others
    on = _mask(settings, "tls_ssl_options", settings.tls_ssl_options, OPTIONS, emit)
    return OP_ALL & ~(off or 0) | (on or 0) & ~_NOT_FOR_EVERYBODY | _ALWAYS


def _mask(
    settings: Settings, parameter: str, words: tuple[str, ...], bits: Mapping[str, int], emit: Emit
) -> int | None:
    """The bits that a parameter names; None: it is empty."""
    mask = 0
    for word in words:
        bit = bits.get(word.upper())
        if bit is None and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", word):
            bit = int(word, 16)
        if bit is None:
            emit(TlsOptionUnknown(parameter, word, settings.expanded(parameter) or ""))
        else:
            mask |= bit
    return mask if words else None
