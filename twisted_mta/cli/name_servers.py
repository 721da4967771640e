"""Name servers on the command line.

Flow: cli/send.py and cli/tls.py read their option ``--nameserver`` with it.
Sources: RFC 3986 section 3.2.2 for the brackets.
"""

from twisted_mta.dns.resolv_conf import is_server_address

DNS_PORT = 53


def name_server(text: str) -> tuple[str, int]:
    """Read ``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``.

    Returns:
        The address and the port.

    Raises:
        ValueError: that is no address, or no port.
    """
    address, port = _divided(text)
    if not is_server_address(address):
        raise ValueError(f"{text}: not the address of a name server")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text}: not a port")
    return address, int(port)


def _divided(text: str) -> tuple[str, str]:
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return address if bracket else text, port.removeprefix(":") or str(DNS_PORT)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port
    return text, str(DNS_PORT)
