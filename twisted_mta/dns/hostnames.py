"""Decide whether a text is a host name, or the address of a host.

Flow: dns/ checks what it asks for and what it is told; routing/ checks destinations.
Sources: RFC 1123 section 2.1; a running Postfix; config/hostname.py for names.
"""

import re
import socket

from twisted_mta.config.hostname import LONGEST_NAME, hostname_problem, valid_hostname

__all__ = ["hostname_problem", "valid_address", "valid_hostname", "valid_ipv4", "valid_ipv6"]

_IPV4 = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)\Z")


def valid_ipv4(text: str) -> bool:
    """Whether `text` is an IPv4 address in dotted form; leading zeros may stand, but 0 only begins ``0.0.0.0``."""
    match = _IPV4.match(text)
    if match is None or len(text) > LONGEST_NAME:
        return False
    fields = [int(field) for field in match.groups()]
    return max(fields) <= 255 and (fields[0] > 0 or not any(fields))


def valid_ipv6(text: str) -> bool:
    """Whether `text` is an IPv6 address without brackets and zone; ``::`` stands for more than one group at either end."""
    if text.count(":") > 7:
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def valid_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    return valid_ipv6(text) if ":" in text else valid_ipv4(text)
