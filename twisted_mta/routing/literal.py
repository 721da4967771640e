"""Addresses written where a host name may stand.

Flow: routing/destination.py, routing/addresses.py and routing/own_addresses.py recognize and compare addresses here.
Sources: inet_pton(3) and inet_aton(3) for the forms that a numeric look-up of getaddrinfo(3) takes; RFC 5952.
"""

import re
import socket

from twisted_mta.routing.candidates import Family

_ATON = re.compile(r"[0-9][0-9a-fA-FxX.]*\Z")


def numeric_address(text: str) -> tuple[Family, str] | None:
    """Recognize an address, in any form in which connect would take it: ``127.0.0.1``, ``0x7f.1``, ``2001:DB8::5``.

    Args:
        text: a host name or an address without brackets.

    Returns:
        The family and the address in canonical text; None for anything else.
    """
    if ":" in text:
        try:
            return Family.IPV6, socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
        except (OSError, ValueError):
            return None
    if not _ATON.match(text):
        return None
    try:
        return Family.IPV4, socket.inet_ntoa(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def packed_address(address: str) -> bytes:
    """The octets of an address, by which two spellings of it compare equal; empty if it is no address.

    Args:
        address: text of an IPv4 or IPv6 address; a zone (``%eth0``) is left out.
    """
    try:
        if ":" in address:
            return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return b""
