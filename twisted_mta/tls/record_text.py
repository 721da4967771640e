"""A certificate association as log lines show it.

Flow: tls/tlsa.py and tls/trust_anchor_files.py tell what they have found.
Sources: RFC 6698 section 2.2; the log of a running Postfix.
"""

from twisted_mta.tls.policy import Association

_SHOWN_OCTETS = 32
"""At each end of data that are longer than twice as much."""


def record_text(record: Association) -> str:
    """``3 1 1 <HEX>``; of long data only both ends are shown."""
    return f"{record.usage} {record.selector} {record.matching_type} {data_text(record.data)}"


def data_text(data: bytes) -> str:
    """Data in hexadecimal digits, in upper case; of long data only both ends are shown."""
    if len(data) <= 2 * _SHOWN_OCTETS:
        return data.hex().upper()
    return f"{data[:_SHOWN_OCTETS].hex().upper()}...{data[-_SHOWN_OCTETS:].hex().upper()}"
