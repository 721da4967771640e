"""From main.cf to what routing needs."""

import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import load_settings
from twisted_mta.model.answers import Search
from twisted_mta.model.events import AddressFamilyDisabled
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.destination import parse_nexthop
from twisted_mta.routing.settings import RoutingSettings, service_port, supported_families


class FromSettingsTests(SynchronousTestCase):
    """What each parameter means."""

    def read(self, protocol: str = "smtp", **main_cf: str) -> RoutingSettings:
        """Settings from the lines of a main.cf."""
        directory = Path(self.mktemp())
        directory.mkdir()
        text = "".join(f"{name} = {value}\n" for name, value in ({"myhostname": "client.test"} | main_cf).items())
        (directory / "main.cf").write_text(text)
        return RoutingSettings.from_settings(load_settings(directory, protocol=protocol))

    def check(self, settings: RoutingSettings, expected: Mapping[str, object]) -> None:
        """Compare some fields."""
        self.assertEqual({name: getattr(settings, name) for name in expected}, dict(expected))

    def test_defaults(self) -> None:
        """The defaults are those that stand at the fields, but for names in Unicode, which need a compatibility level."""
        read, default = self.read(inet_protocols="ipv4"), RoutingSettings(own_name="client.test", idna=False)
        for name in set(RoutingSettings.__slots__) - {"families", "service_port"}:
            self.assertEqual(getattr(read, name), getattr(default, name), name)
        self.assertEqual(read.families, (Family.IPV4,))
        self.assertEqual(self.read("lmtp").default_service, "24")

    def test_dns_support(self) -> None:
        """Without DNS the system is asked, whatever smtp_host_lookup says."""
        self.check(self.read(smtp_dns_support_level="dnssec"), {"dns": True, "dnssec": True, "hosts_by_dns": True})
        without = {"dns": False, "dnssec": False, "hosts_by_dns": False, "hosts_by_native": True}
        self.check(self.read(smtp_dns_support_level="disabled"), without)
        self.check(self.read(disable_dns_lookups="yes"), without)
        both = self.read(smtp_host_lookup="native, dns")
        self.check(both, {"dns": True, "hosts_by_dns": True, "hosts_by_native": True})

    def test_insecure_mx_policy(self) -> None:
        """Hosts of insecure MX answers are asked for with DNSSEC only where DANE may follow."""
        dnssec = {"smtp_dns_support_level": "dnssec"}
        self.assertTrue(self.read(**dnssec).dnssec_for_insecure_mx)
        self.assertFalse(self.read(**dnssec, smtp_tls_dane_insecure_mx_policy="may").dnssec_for_insecure_mx)
        self.assertFalse(self.read("lmtp", lmtp_dns_support_level="dnssec").dnssec_for_insecure_mx)
        self.assertFalse(self.read().dnssec_for_insecure_mx)

    def test_lmtp_names(self) -> None:
        """In LMTP mode the lmtp_ names count."""
        settings = self.read(
            "lmtp",
            lmtp_fallback_relay="$myhostname, [b.example]:26",
            smtp_fallback_relay="c",
            lmtp_mx_address_limit="7",
        )
        self.check(settings, {"lmtp": True, "fallback_relay": "client.test, [b.example]:26", "address_limit": 7})

    def test_other_parameters(self) -> None:
        """Each of the rest reaches its field."""
        settings = self.read(
            compatibility_level="3.6",
            known_tcp_ports="x=99",
            smtp_tcp_port="x",
            smtp_address_preference="ipv6",
            smtp_dns_resolver_options="res_dnsrch",
            smtp_randomize_addresses="no",
            smtp_balance_inet_protocols="no",
            smtp_mx_session_limit="9",
            ignore_mx_lookup_error="yes",
            ignore_srv_lookup_error="yes",
            allow_srv_lookup_fallback="yes",
            smtp_defer_if_no_mx_address_found="yes",
            smtp_cname_overrides_servername="yes",
            enable_idna2003_compatibility="yes",
            smtp_tls_wrappermode="yes",
            helpful_warnings="no",
        )
        self.check(
            settings,
            {
                "preferred_family": Family.IPV6,
                "search": Search.DOTTED,
                "randomize": False,
                "balance": False,
                "session_limit": 9,
                "ignore_mx_lookup_error": True,
                "ignore_srv_lookup_error": True,
                "allow_srv_lookup_fallback": True,
                "defer_if_no_mx_address": True,
                "cname_overrides_servername": True,
                "idna": True,
                "idna2003": True,
                "wrappermode": True,
                "helpful_warnings": False,
            },
        )
        self.assertEqual(parse_nexthop("a.example", settings)[0].port, 99)


class SystemTests(SynchronousTestCase):
    """What the system says."""

    def test_families(self) -> None:
        """A family that the system cannot do is left out, with a warning."""

        def only_ipv4(number: int) -> socket.socket:
            if number != socket.AF_INET:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return socket.socket(number)

        families, events = supported_families([Family.IPV4, Family.IPV6], only_ipv4)
        self.assertEqual(families, (Family.IPV4,))
        self.assertEqual(events, (AddressFamilyDisabled("IPv6", "Address family not supported by protocol"),))

    def test_services(self) -> None:
        """services(5) knows some services, and not others."""
        self.assertIsNone(service_port("no-such-service"))
        self.assertIsNone(service_port("sm\x00tp"))
        self.assertIsNone(service_port("\udcff"))
