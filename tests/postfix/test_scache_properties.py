"""What is written down of shared sessions."""

import socket

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.postfix.scache_properties import DestinationProperties, EndpointProperties, PropertiesError
from twisted_mta.smtp.capabilities import Feature, parse_ehlo
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.workarounds import PixWorkarounds

LEFT_BY_SMTP = "tls_level=0\nreuse_count=1\nendpoint_features=15\nexpire_time=1795374372\n\n"
"""As smtp(8) writes it: ESMTP, 8BITMIME, PIPELINING, SIZE."""

FEATURES = st.builds(lambda bits: [feature for feature in Feature if feature.value & bits], st.integers(0, 0xFFFF))


class EndpointTests(SynchronousTestCase):
    """A session."""

    def test_of_smtp(self) -> None:
        """What smtp(8) has left is understood, and written the same again."""
        properties = EndpointProperties.parse(LEFT_BY_SMTP)
        self.assertEqual(properties, EndpointProperties(0, 1, 15, 1795374372))
        offered = properties.welcome.capabilities
        self.assertTrue(
            offered.offers(Feature.ESMTP | Feature.EIGHTBITMIME | Feature.PIPELINING | Feature.SIZE), offered.features
        )
        self.assertFalse(offered.offers(Feature.DSN))
        self.assertEqual((offered.size_limit, offered.name), (0, ""))
        self.assertEqual(properties.text, LEFT_BY_SMTP)

    def test_of_ours(self) -> None:
        """What a server offers, and what its greeting called for, is written down."""
        welcome = Welcome(
            parse_ehlo("250-mx.example\n250-PIPELINING\n250-SIZE 1000\n250-DSN\n250 XFORWARD NAME ADDR SOURCE"),
            PixWorkarounds(delay_dot=True),
        )
        properties = EndpointProperties.of(welcome, level=1, reuse_count=2, expires=17.9)
        self.assertEqual(properties.features, 1 + 4 + 8 + 128 + 256 + 2048 + 32768 + 131072)
        self.assertEqual((properties.level, properties.reuse_count, properties.expires), (1, 2, 17))

    @settings(max_examples=100, deadline=None)
    @given(FEATURES, st.booleans(), st.booleans())
    def test_round_trip(self, features: list[Feature], disable_esmtp: bool, delay_dot: bool) -> None:
        """Nothing is lost on the way."""
        offered = Feature.NONE
        for feature in features:
            offered |= feature
        capabilities = parse_ehlo("250 mx.example")
        welcome = Welcome(type(capabilities)(offered), PixWorkarounds(disable_esmtp, delay_dot))
        written = EndpointProperties.of(welcome, level=0, reuse_count=0, expires=1.0)
        self.assertEqual(EndpointProperties.parse(written.text).welcome, welcome)

    def test_not_ours_to_use(self) -> None:
        """A session that goes through tlsproxy(8), or has TLS of any kind, is refused; so is what makes no sense."""
        for text in (
            LEFT_BY_SMTP.replace("=15", f"={15 + 4194304}"),
            LEFT_BY_SMTP[:-1] + "peer_CN=mx\n\n",
            LEFT_BY_SMTP[:-1],
            LEFT_BY_SMTP.replace("tls_level", "level"),
            LEFT_BY_SMTP.replace("=15", "=fifteen"),
            LEFT_BY_SMTP.replace("=15", "=-1"),
            LEFT_BY_SMTP.replace("=15", "=" + "9" * 5000),
            LEFT_BY_SMTP.replace("reuse_count=", "reuse_count"),
            "",
            "\n",
        ):
            self.assertRaises(PropertiesError, EndpointProperties.parse, text)

    @settings(max_examples=100, deadline=None)
    @given(st.text(st.sampled_from("tls_level=01\n"), max_size=60))
    def test_junk(self, junk: str) -> None:
        """Junk is refused, and nothing else happens."""
        for text in (junk, LEFT_BY_SMTP[:30] + junk):
            self.assertRaises(PropertiesError, EndpointProperties.parse, text)


class DestinationTests(SynchronousTestCase):
    """Where a session leads."""

    WHERE = DestinationProperties("[c.test]:587", "c.test", "10.0.0.1", 587, True)

    def test_port(self) -> None:
        """Since 3.8 the port is written, in the order of the network's bytes."""
        port = socket.htons(587)
        text = f"destination=[c.test]:587\nhost_name=c.test\nhost_addr=10.0.0.1\nhost_port={port}\ndestination_features=4096\n\n"
        self.assertEqual(self.WHERE.text(with_port=True), text)
        self.assertEqual(DestinationProperties.parse(text, with_port=True), self.WHERE)

    def test_without_port(self) -> None:
        """Before, it is not known."""
        text = "destination=c.test\nhost_name=c.test\nhost_addr=10.0.0.1\ndestination_features=0\n\n"
        where = DestinationProperties.parse(text, with_port=False)
        self.assertEqual(where, DestinationProperties("c.test", "c.test", "10.0.0.1", 0, False))
        self.assertEqual(where.text(with_port=False), text)

    def test_nonsense(self) -> None:
        """What makes no sense is refused."""
        text = self.WHERE.text(with_port=True)
        for broken, with_port in (
            (text, False),
            (text.replace("=4096", "="), True),
            (text.replace("host_port=", "host_port=9"), True),
            ("", True),
        ):
            with self.assertRaises(PropertiesError):
                DestinationProperties.parse(broken, with_port=with_port)
