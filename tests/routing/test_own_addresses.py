"""The addresses of this machine."""

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import split_words
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.own_addresses import (
    OwnAddresses,
    own_addresses,
    system_interfaces,
    system_resolve,
)

BOTH = (Family.IPV4, Family.IPV6)
INTERFACES = ("127.0.0.1", "192.0.2.1", "::1", "2001:DB8::1", "fe80::1%eth0", "0.0.0.0")
HOSTS = {
    ("localhost", Family.IPV4): ["127.0.0.1"],
    ("localhost", Family.IPV6): ["::1"],
    ("proxy.example", Family.IPV4): ["198.51.100.1"],
}


def compute(interfaces: str, proxies: str = "", families: Sequence[Family] = BOTH) -> OwnAddresses:
    """Evaluate the parameters on a machine that we know."""
    return own_addresses(
        split_words(interfaces),
        split_words(proxies),
        families,
        list_interfaces=lambda: INTERFACES,
        resolve=lambda host, family: HOSTS.get((host, family), []),
    )


class OwnAddressesTests(SynchronousTestCase):
    """inet_interfaces and proxy_interfaces; the words of the errors were seen with a running Postfix."""

    def error(self, interfaces: str, proxies: str = "") -> str:
        """What is wrong with the parameters."""
        return str(self.assertRaises(ConfigError, compute, interfaces, proxies))

    def test_all(self) -> None:
        """All addresses but the wildcard, in canonical text."""
        self.assertEqual(compute("all").interfaces, ("127.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "fe80::1"))

    def test_families(self) -> None:
        """Only those of the families in use; none without one."""
        self.assertEqual(compute("all", families=[Family.IPV4]).interfaces, ("127.0.0.1", "192.0.2.1"))
        self.assertEqual(compute("nosuch.example", families=()).interfaces, ())

    def test_loopback_only(self) -> None:
        """The loopback addresses."""
        self.assertEqual(compute("loopback-only").interfaces, ("127.0.0.1", "::1"))

    def test_list(self) -> None:
        """Names and addresses, brackets or not, each once."""
        self.assertEqual(
            compute("[127.0.0.1], localhost 2001:db8::1,,127.0.0.1").interfaces, ("127.0.0.1", "::1", "2001:db8::1")
        )
        self.assertEqual(compute("").interfaces, ())

    def test_errors(self) -> None:
        """A name that is not found, a word that only stands alone, an address of another machine."""
        not_found = "config variable inet_interfaces: host not found: "
        self.assertEqual(self.error("nosuch.example"), not_found + "nosuch.example")
        self.assertEqual(self.error("all, 127.0.0.1"), not_found + "all")
        self.assertEqual(self.error("ALL"), not_found + "ALL")
        self.assertEqual(self.error("ipv6:::1"), not_found + "ipv6:::1")
        self.assertEqual(self.error("[127.0.0.1"), not_found + "[127.0.0.1")
        self.assertEqual(
            self.error("203.0.113.9"), "parameter inet_interfaces: no local interface found for 203.0.113.9"
        )
        self.assertEqual(self.error("all", "nosuch"), "config variable proxy_interfaces: host not found: nosuch")

    def test_no_interfaces(self) -> None:
        """A machine without network."""
        with self.assertRaises(ConfigError) as caught:
            own_addresses(["all"], [], BOTH, list_interfaces=lambda: (), resolve=lambda _host, _family: [])
        self.assertEqual(str(caught.exception), "could not find any active network interfaces")

    def test_contains(self) -> None:
        """Proxies count as ourselves; spelling does not matter."""
        own = compute("127.0.0.1 2001:db8::1", "proxy.example, 198.51.100.2")
        for address in ("127.0.0.1", "2001:DB8:0::1", "198.51.100.1", "198.51.100.2"):
            self.assertIn(address, own)
        for address in ("192.0.2.1", "::1", "", "nonsense"):
            self.assertNotIn(address, own)
        self.assertNotIn(None, own)

    def test_implied_bind_address(self) -> None:
        """The only address of a family, unless it is loopback; proxies are not ours to bind to."""
        own = compute("192.0.2.1, ::1", "198.51.100.2")
        self.assertEqual(own.implied_bind_address(Family.IPV4), "192.0.2.1")
        self.assertIsNone(own.implied_bind_address(Family.IPV6))
        self.assertIsNone(compute("all").implied_bind_address(Family.IPV4))
        self.assertIsNone(compute("loopback-only").implied_bind_address(Family.IPV4))
        self.assertIsNone(compute("192.0.2.1").implied_bind_address(Family.IPV6))

    def test_this_machine(self) -> None:
        """The system's own answers can be evaluated; any machine knows its loopback address by number."""
        own = own_addresses(["all"], [], BOTH)
        for address in own.interfaces:
            self.assertIn(address, own)
        self.assertIn(own.interfaces[0], [address.partition("%")[0] for address in system_interfaces()])
        self.assertEqual(system_resolve("127.0.0.1", Family.IPV4), ["127.0.0.1"])
        self.assertEqual(system_resolve("host name with blanks", Family.IPV4), [])
