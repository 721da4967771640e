"""Rows about where mail goes: hosts, addresses, ports, and the way out of this host.

Flow: settings.py composes them into Settings; routing/ and delivery/dial.py read them. Sources: postconf(5).
"""

from twisted_mta.config.choices import AddressPreference
from twisted_mta.config.parameter import Load, Rows, boolean, choice, integer, items, legacy, text, words


class FirstRoutingRows(Rows, load=Load.FIRST):
    """What every daemon reads first."""

    known_tcp_ports = text(
        "lmtp=24, smtp=25, smtps=submissions=465, submission=587",
        doc="Ports of service names that need no services(5).",
    )


class GeneralRoutingRows(Rows, load=Load.GENERAL):
    """What every daemon reads."""

    tcp_windowsize = integer("0", doc="Size of the TCP buffers in bytes; 0: that of the system.")


class RoutingRows(Rows, load=Load.AGENT):
    """Hosts, addresses, ports."""

    smtp_mx_address_limit = integer("5", doc="Most addresses that are tried for one next hop; 0: no limit.")
    smtp_mx_session_limit = integer("2", doc="Most sessions with a delivery attempt for one next hop; 0: no limit.")
    smtp_fallback_relay = words(
        "$fallback_relay", lmtp_default="", doc="Next hops for mail that its own destination did not take."
    )
    fallback_relay = legacy(
        lmtp=None, doc="Former name of smtp_fallback_relay, for which it still supplies the default."
    )
    best_mx_transport = text(
        "", doc="transport[:nexthop] for mail whose best MX is this host; empty: it is returned as looping."
    )
    smtp_bind_address = text("", doc="Local IPv4 address of connections.")
    smtp_bind_address6 = text("", doc="Local IPv6 address of connections, perhaps in brackets.")
    smtp_tcp_port = text("smtp", lmtp_default="24", doc="Port or service of a destination that names none.")
    smtp_address_preference = choice(
        AddressPreference,
        "any",
        "bad {name} value: {value}",
        1,
        doc="Address family that is tried first among hosts of equal preference.",
    )
    use_srv_lookup = items("", doc="Services for which SRV records are looked up.")
    ignore_mx_lookup_error = boolean(
        "no", lmtp=None, doc="Whether a failed MX lookup leads to the address of the domain itself."
    )
    smtp_randomize_addresses = boolean("yes", doc="Whether addresses of equal preference are shuffled.")
    smtp_defer_if_no_mx_address_found = boolean(
        "no", doc="Whether mail is deferred, not returned, if no MX host has an address."
    )
    smtp_balance_inet_protocols = boolean("yes", doc="Whether no address family may crowd out the other.")
    smtp_bind_address_enforce = boolean("no", doc="Whether an address is skipped if the local address cannot be used.")
    ignore_srv_lookup_error = boolean("no", doc="Whether a failed SRV lookup leads to an MX or address lookup.")
    allow_srv_lookup_fallback = boolean("no", doc="Whether a missing SRV record leads to an MX or address lookup, too.")
    smtp_cname_overrides_servername = boolean(
        "no", doc="Whether the canonical name of a host takes the place of the one that MX gave."
    )
