"""Name servers on the command line.

Flow: cli/send.py and cli/tls.py read their option ``--nameserver`` with it.
Sources: RFC 3986 section 3.2.2 for the brackets.
"""

DNS_PORT = 53


def name_server(text: str) -> tuple[str, int]:
    """Read ``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``.

    Returns:
        The address and the port.

    Raises:
        ValueError: the port is no number.
    """
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.removeprefix(":") or DNS_PORT)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, DNS_PORT
