"""What routing has to know of the configuration, evaluated once.

Flow: service.py makes RoutingSettings from Settings for each generation of the configuration; all of routing/ reads it.
Sources: postconf(5), the parameters named at the fields.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from twisted_mta.routing.candidates import Family
from twisted_mta.routing.tcp_ports import parse_known_tcp_ports

_DEFAULT_PORTS = parse_known_tcp_ports("lmtp=24, smtp=25, smtps=submissions=465, submission=587").ports


def _service_port(name: str) -> int | None:
    """Look a service up in services(5)."""
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, UnicodeError):
        return None


# Compared by identity: one object a configuration, and the key of what is kept for that configuration.
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RoutingSettings:
    """The parameters of routing.

    Attributes:
        lmtp: whether this is the LMTP client, which knows no MX hosts and no mail loops.
        own_name: myhostname, the name of a UNIX-domain socket's "host".
        default_service: smtp_tcp_port or lmtp_tcp_port: name or number.
        known_tcp_ports: ports in digits by service name, before services(5) is asked.
        service_port: looks a service name up in services(5); None if it is not there.
        fallback_relay: smtp_fallback_relay as written.
        families: inet_protocols, in the order of look-ups; may be empty.
        dns: whether DNS is used at all (smtp_dns_support_level, disable_dns_lookups).
        dnssec: whether validated data is asked for (smtp_dns_support_level = dnssec).
        dnssec_for_insecure_mx: whether it is for the hosts of an MX answer that was not validated
            (smtp_tls_dane_insecure_mx_policy above may).
        hosts_by_dns: smtp_host_lookup has dns.
        hosts_by_native: smtp_host_lookup has native, or DNS is not used.
        use_search_list: smtp_dns_resolver_options has res_defnames or res_dnsrch.
        srv_services: use_srv_lookup, in lower case.
        ignore_srv_lookup_error: a failing SRV look-up is passed over.
        allow_srv_lookup_fallback: any SRV look-up without result is passed over.
        ignore_mx_lookup_error: a failing MX look-up is passed over.
        defer_if_no_mx_address: smtp_defer_if_no_mx_address_found.
        randomize: smtp_randomize_addresses.
        preferred_family: smtp_address_preference; None: any.
        balance: smtp_balance_inet_protocols.
        address_limit: smtp_mx_address_limit.
        session_limit: smtp_mx_session_limit.
        cname_overrides_servername: smtp_cname_overrides_servername.
        idna: whether names in Unicode are converted (smtputf8_enable).
        idna2003: enable_idna2003_compatibility.
        wrappermode: smtp_tls_wrappermode.
        helpful_warnings: whether common mistakes are explained.
    """

    lmtp: bool = False
    own_name: str = "localhost"
    default_service: str = "smtp"
    known_tcp_ports: Mapping[str, str] = field(default_factory=lambda: _DEFAULT_PORTS)
    service_port: Callable[[str], int | None] = _service_port
    fallback_relay: str = ""
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    dns: bool = True
    dnssec: bool = False
    dnssec_for_insecure_mx: bool = True
    hosts_by_dns: bool = True
    hosts_by_native: bool = False
    use_search_list: bool = False
    srv_services: frozenset[str] = frozenset()
    ignore_srv_lookup_error: bool = False
    allow_srv_lookup_fallback: bool = False
    ignore_mx_lookup_error: bool = False
    defer_if_no_mx_address: bool = False
    randomize: bool = True
    preferred_family: Family | None = None
    balance: bool = True
    address_limit: int = 5
    session_limit: int = 2
    cname_overrides_servername: bool = False
    idna: bool = True
    idna2003: bool = False
    wrappermode: bool = False
    helpful_warnings: bool = True
