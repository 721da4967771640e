"""What routing has to know of the configuration, evaluated once.

Flow: assembly.py makes RoutingSettings from Settings for each generation of the configuration; all of routing/ reads it.
Sources: postconf(5), the parameters named at the fields.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from twisted.internet.defer import Deferred

from twisted_mta.config.choices import AddressPreference, DnsSupport, InsecureMxPolicy
from twisted_mta.config.parameters_routing import FirstRoutingRows
from twisted_mta.config.settings import Settings
from twisted_mta.config.values import parse_known_tcp_ports
from twisted_mta.model.answers import Search
from twisted_mta.model.events import AddressFamilyDisabled, Event
from twisted_mta.routing.candidates import Family

_DEFAULT_PORTS, _ = parse_known_tcp_ports(FirstRoutingRows.known_tcp_ports.default)
_PREFERRED = {
    AddressPreference.ANY: None,
    AddressPreference.IPV4: Family.IPV4,
    AddressPreference.IPV6: Family.IPV6,
}
_SEARCHES = {"res_defnames": Search.FIRST, "res_dnsrch": Search.DOTTED}
_NAMES = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}

ServiceMatch = Callable[[str], bool | Deferred[bool]]
"""Whether a service is in a list; raises TableError, which has been told."""


def service_port(name: str) -> int | None:
    """Look a service up in services(5); None if it is not there."""
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, ValueError):
        return None


# Compared by identity: one object a configuration, and the key of what is kept for that configuration.
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RoutingSettings:
    """The parameters of routing.

    Attributes:
        lmtp: whether this is the LMTP client, which knows no MX hosts and no mail loops.
        own_name: myhostname, the name of a UNIX-domain socket's "host".
        default_service: smtp_tcp_port or lmtp_tcp_port: name or number.
        known_tcp_ports: ports by service name, before services(5) is asked.
        service_port: looks a service name up in services(5); None if it is not there.
        fallback_relay: smtp_fallback_relay as written, expanded.
        families: inet_protocols, in the order of look-ups; may be empty.
        dns: whether DNS is used at all (smtp_dns_support_level, disable_dns_lookups).
        dnssec: whether validated data is asked for (smtp_dns_support_level = dnssec).
        dnssec_for_insecure_mx: whether it is for the hosts of an MX answer that was not validated
            (smtp_tls_dane_insecure_mx_policy above may).
        hosts_by_dns: smtp_host_lookup has dns.
        hosts_by_native: smtp_host_lookup has native, or DNS is not used.
        search: smtp_dns_resolver_options.
        srv_services: whether SRV records are looked up for a service as written (use_srv_lookup); None: for none.
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
        events: what there is to say about the configuration, once.
    """

    lmtp: bool = False
    own_name: str = "localhost"
    default_service: str = "smtp"
    known_tcp_ports: Mapping[str, int] = field(default_factory=lambda: _DEFAULT_PORTS)
    service_port: Callable[[str], int | None] = service_port
    fallback_relay: str = ""
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    dns: bool = True
    dnssec: bool = False
    dnssec_for_insecure_mx: bool = False
    hosts_by_dns: bool = True
    hosts_by_native: bool = False
    search: Search = Search.NONE
    srv_services: ServiceMatch | None = None
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
    events: tuple[Event, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings, srv_services: ServiceMatch | None = None) -> "RoutingSettings":
        """Evaluate the parameters.

        Args:
            settings: of the protocol to be spoken.
            srv_services: use_srv_lookup; None: it is empty.
        """
        lmtp = settings.protocol == "lmtp"
        support = settings.effective_dns_support
        families, disabled = supported_families([Family(name) for name in settings.inet_protocols])
        return cls(
            lmtp=lmtp,
            own_name=settings.myhostname,
            default_service=settings.smtp_tcp_port,
            known_tcp_ports=parse_known_tcp_ports(settings.known_tcp_ports)[0],
            fallback_relay=settings.expanded(settings.parameter_name("smtp_fallback_relay")) or "",
            families=families,
            dns=support is not DnsSupport.DISABLED,
            dnssec=support is DnsSupport.DNSSEC,
            # There is no such parameter in LMTP, and the weakest policy is in force there.
            dnssec_for_insecure_mx=support is DnsSupport.DNSSEC
            and not lmtp
            and settings.smtp_tls_dane_insecure_mx_policy is not InsecureMxPolicy.MAY,
            hosts_by_dns="dns" in settings.effective_host_lookup,
            hosts_by_native="native" in settings.effective_host_lookup,
            search=reduce(or_, map(_SEARCHES.__getitem__, settings.smtp_dns_resolver_options), Search.NONE),
            srv_services=srv_services,
            ignore_srv_lookup_error=settings.ignore_srv_lookup_error,
            allow_srv_lookup_fallback=settings.allow_srv_lookup_fallback,
            ignore_mx_lookup_error=settings.ignore_mx_lookup_error,
            defer_if_no_mx_address=settings.smtp_defer_if_no_mx_address_found,
            randomize=settings.smtp_randomize_addresses,
            preferred_family=_PREFERRED[settings.smtp_address_preference],
            balance=settings.smtp_balance_inet_protocols,
            address_limit=settings.smtp_mx_address_limit,
            session_limit=settings.smtp_mx_session_limit,
            cname_overrides_servername=settings.smtp_cname_overrides_servername,
            idna=settings.smtputf8_enable,
            idna2003=settings.enable_idna2003_compatibility,
            wrappermode=settings.smtp_tls_wrappermode,
            helpful_warnings=settings.helpful_warnings,
            events=disabled,
        )


def supported_families(
    families: Sequence[Family], make_socket: Callable[[int], socket.socket] = socket.socket
) -> tuple[tuple[Family, ...], tuple[Event, ...]]:
    """The address families that the system can do, and what to say of the others.

    Args:
        families: inet_protocols.
        make_socket: opens a socket of an AF_ number, or fails.
    """
    supported: list[Family] = []
    events: list[Event] = []
    for family in families:
        try:
            make_socket(family.number).close()
        except OSError as error:
            events.append(AddressFamilyDisabled(_NAMES[family], error.strerror or str(error)))
        else:
            supported.append(family)
    return tuple(supported), tuple(events)
