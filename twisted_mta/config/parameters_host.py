"""Rows about this host: its names, its addresses, and the destinations that are its own.

Flow: settings.py composes them into Settings. Sources: postconf(5).
"""

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.parameter import Load, Rows, computed_boolean, converted, items, text, words
from twisted_mta.config.values import parse_level, read_inet_protocols, read_mask, read_text
from twisted_mta.model.text import to_text

_LONGEST_FIRST_LINE = 4096
"""Bytes of a file named by myorigin that are read."""


def _read_level(_name: str, value: str) -> tuple[int, int, int]:
    return parse_level(value)


def _read_style(name: str, value: str) -> frozenset[str]:
    return read_mask("mynetworks mask style", read_text(name, value, 1), ("class", "subnet", "host"))


def _read_origin(name: str, value: str) -> str:
    """Take a domain, or, as Debian does, the first line of the file that is named."""
    value = read_text(name, value, 1)
    if not value.startswith("/"):
        return value
    try:
        with open(value, "rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
    except OSError as error:
        raise ConfigError(f"{value}: cannot open file: {error.strerror}", parameter=name) from None
    if not first.strip():
        raise ConfigError(f"myorigin file {value} is empty", parameter=name)
    return to_text(first.strip())


class FirstHostRows(Rows, load=Load.FIRST):
    """What every daemon reads first."""

    compatibility_level = converted(
        "0", _read_level, "major[.minor[.patch]]", doc="Release whose defaults apply; unset means the oldest ones."
    )
    mail_version = text(
        "3.9.14", 1, doc="Release of Postfix that expansions see; how its sockets are spoken to, postconf(1) says."
    )
    inet_protocols = converted(
        "all",
        read_inet_protocols,
        "all, ipv4, ipv6",
        doc="Address families that are looked up and connected to.",
    )
    smtputf8_enable = computed_boolean(
        "${{$compatibility_level} <level {1} ? {no} : {yes}}",
        doc="Whether internationalized addresses are sent, and tables are searched with Unicode case folding.",
    )
    enable_idna2003_compatibility = computed_boolean(
        "no", doc="Whether host names are turned into A-labels in the transitional way of IDNA2003."
    )


class HostNameRows(Rows, load=Load.HOST):
    """The names of this host; where main.cf is silent they come from the system."""

    myhostname = text("", 1, doc="Full name of this host; by default its node name, with a domain where that has none.")
    mydomain = text("", 1, doc="Domain of this host; by default what follows the first dot of myhostname.")


class HostRows(Rows, load=Load.GENERAL):
    """The other settings about this host."""

    mail_name = text("Postfix", 1, doc="Name of the mail system in the notices that it writes.")
    mydestination = items(
        "$myhostname, localhost.$mydomain, localhost",
        doc="Domains that count as local when smtp_generic_maps is searched for a bare local part.",
    )
    myorigin = converted(
        "$myhostname",
        _read_origin,
        "at least 1 byte",
        doc="Domain that a bare address is meant to have; one value, or a file with it.",
    )
    relayhost = words(
        "", doc="Next hop of mail for other sites; a hard error of this host is taken for a configuration problem."
    )
    inet_interfaces = words("all", doc="Own network addresses, for loop detection and as default local address.")
    proxy_interfaces = words(
        "", doc="Addresses of proxies in front of this host, which count as own in loop detection."
    )
    mynetworks_style = converted(
        "${{$compatibility_level} <level {2} ? {subnet} : {host}}",
        _read_style,
        "class, subnet, host",
        doc="How Postfix computes mynetworks; it must be valid, and has no effect here.",
    )
    mynetworks = items("", doc="Trusted networks; no effect here.")
    alternate_config_directories = words(
        "", doc="Other configuration directories that set-gid programs may use; no effect here."
    )
