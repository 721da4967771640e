"""Rows about looking up names.

Flow: settings.py composes them into Settings; dns/ and routing/ read them. Sources: postconf(5).
"""

from twisted_mta.config.choices import DnsSupport
from twisted_mta.config.parameter import Load, Rows, boolean, choice, items, mask, text

HOST_LOOKUP = ("dns", "native")
"""The ways to look up a host's addresses."""

RESOLVER_OPTIONS = ("res_defnames", "res_dnsrch")
"""The resolver options that can be turned on."""


class FirstDnsRows(Rows, load=Load.FIRST):
    """What every daemon reads first."""

    dnssec_probe = text(
        "ns:.", doc="type:name of the query that finds out whether the resolver validates; empty: none."
    )
    dns_ncache_ttl_fix_enable = boolean(
        "no", doc="Whether the time to live of negative answers is wanted, too; no effect here."
    )


class GeneralDnsRows(Rows, load=Load.GENERAL):
    """What every daemon reads."""

    disable_dns_lookups = boolean("no", doc="Whether DNS is not used; smtp_dns_support_level counts before it.")


class DnsRows(Rows, load=Load.AGENT):
    """How a delivery agent looks up names."""

    smtp_host_lookup = mask(
        "dns",
        HOST_LOOKUP,
        1,
        doc="Where the addresses of a host come from: DNS, the system's own way, or both in this order.",
    )
    smtp_dns_support_level = choice(
        DnsSupport,
        "",
        'invalid {name}: "{value}"',
        doc="Whether DNS is used, and whether with DNSSEC; empty: see disable_dns_lookups.",
    )
    smtp_dns_resolver_options = mask(
        "",
        RESOLVER_OPTIONS,
        doc="Whether names without a dot get our domain (res_defnames), others the search list (res_dnsrch).",
    )
    smtp_dns_reply_filter = items("", doc="Tables that may drop records of DNS replies.")
