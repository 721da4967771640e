"""Nexthops and their elements; the words of the errors were seen with a running Postfix."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import DomainNotConverted, FallbackIgnored, WrappermodeNeeded
from twisted_mta.routing.destination import Destination, DestinationError, parse_destination, parse_nexthop
from twisted_mta.routing.settings import RoutingSettings

SERVICES = {"smtp": 25, "http": 80, "submission": 999}


def options(**changes: object) -> RoutingSettings:
    """Settings with services of their own."""
    return RoutingSettings(**{"service_port": SERVICES.get, **changes})  # type: ignore[arg-type]


SMTP = options()
LMTP = options(lmtp=True, default_service="24")


def error(text: str, with_settings: RoutingSettings = SMTP) -> str:
    """The text of the error of a destination."""
    try:
        parse_destination(text, with_settings)
    except DestinationError as problem:
        assert problem.dsn == DsnStatus("4.3.5", str(problem))
        return str(problem)
    return ""


class ParseDestinationTests(SynchronousTestCase):
    """One element."""

    def check(self, text: str, host: str, port: int, *, bracketed: bool = False, literal: bool = False) -> None:
        """Parse and compare."""
        found = parse_destination(text, SMTP)
        self.assertEqual((found.host, found.port, found.bracketed, found.literal), (host, port, bracketed, literal))
        self.assertEqual(found.text, text)

    def test_names(self) -> None:
        """With and without service; what stands behind the last colon is the service."""
        self.check("a.example", "a.example", 25)
        self.check("A_b-1.Example:", "A_b-1.Example", 25)
        self.check("a.example:587", "a.example", 587)
        self.check("a.example:0025", "a.example", 25)
        self.check("a.example:65535", "a.example", 65535)
        self.check("[a.example]", "a.example", 25, bracketed=True)
        self.check("[a.example]:", "a.example", 25, bracketed=True)
        self.check("[a.example]:http", "a.example", 80, bracketed=True)

    def test_addresses(self) -> None:
        """IPv6 without brackets needs a port, or its last group is taken for one."""
        self.check("192.0.2.1", "192.0.2.1", 25, literal=True)
        self.check("[192.0.2.1]:24", "192.0.2.1", 24, bracketed=True, literal=True)
        self.check("[2001:db8::5]", "2001:db8::5", 25, bracketed=True, literal=True)
        self.check("[IPv6:2001:DB8::5]:24", "2001:DB8::5", 24, bracketed=True, literal=True)
        self.check("::1:26", "::1", 26, literal=True)
        self.check("0x7f.1", "0x7f.1", 25)

    def test_service_as_written(self) -> None:
        """The service keeps its form for SRV look-ups; without one it is the default."""
        self.assertEqual(
            parse_destination("a.example:Submission", options(service_port=lambda _: 1)).service, "Submission"
        )
        self.assertEqual(parse_destination("a.example", SMTP).service, "smtp")
        self.assertEqual(parse_destination("a.example:", LMTP).service, "24")

    def test_known_ports_first(self) -> None:
        """known_tcp_ports comes before services(5)."""
        self.check("a.example:submission", "a.example", 587)

    def test_errors(self) -> None:
        """Every mistake has its words."""
        for text, why in (
            ("[foo", 'missing "]" in server description: [foo'),
            ("[foo]x", 'garbage after "]" in server description: [foo]x'),
            ("[[a]]", 'garbage after "]" in server description: [[a]]'),
            ("[ipv6:foo]", "malformed IPv6 address in server description: [ipv6:foo]"),
            ("[ipv6:1.2.3.4]", "malformed IPv6 address in server description: [ipv6:1.2.3.4]"),
            ("[ipv6:]", "malformed IPv6 address in server description: [ipv6:]"),
            (":25", "missing host information in server description: :25"),
            (":", "missing host information in server description: :"),
            ("[]", "valid hostname or network address required in server description: []"),
            ("[]:25", "valid hostname or network address required in server description: []:25"),
            ("1.2.3", "valid hostname or network address required in server description: 1.2.3"),
            ("1.2.3:nosuch", "valid hostname or network address required in server description: 1.2.3:nosuch"),
            ("a!b:25x", "valid hostname or network address required in server description: a!b:25x"),
            ("0.1.2.3", "valid hostname or network address required in server description: 0.1.2.3"),
            ("a..b", "valid hostname or network address required in server description: a..b"),
            ("foo.", "valid hostname or network address required in server description: foo."),
            ("2001:db8::1", "valid hostname or network address required in server description: 2001:db8::1"),
            ("[fe80::1%lo]", "valid hostname or network address required in server description: [fe80::1%lo]"),
            ("foo:25x", "garbage after numerical service in server description: foo:25x"),
            ("[foo]:25:26", "garbage after numerical service in server description: [foo]:25:26"),
            ("foo:0", "bad network port: 0 for destination: foo:0"),
            ("foo:65536", "bad network port: 65536 for destination: foo:65536"),
            ("foo:" + "9" * 5000, f"bad network port: {'9' * 5000} for destination: foo:{'9' * 5000}"),
            ("foo:nosuch", "unknown service: nosuch/tcp"),
            ("foo:-1", "unknown service: -1/tcp"),
            ("foo:٣", "unknown service: ٣/tcp"),
            ("inet:b", "unknown service: b/tcp"),
        ):
            self.assertEqual(error(text), why)

    def test_error_of_known_port(self) -> None:
        """A bad number in known_tcp_ports shows where it is used."""
        self.assertEqual(
            error("foo:x", options(known_tcp_ports={"x": 99999})), "bad network port: 99999 for destination: foo:x"
        )

    def test_no_default(self) -> None:
        """An empty smtp_tcp_port leaves destinations without a port."""
        self.assertEqual(
            error("foo", options(default_service="")), "missing service information in server description: foo"
        )

    def test_unicode(self) -> None:
        """A name in Unicode must be convertible, and Unicode must be enabled."""
        self.check("bücher.example", "bücher.example", 25)
        required = "valid hostname or network address required in server description: "
        self.assertEqual(error("bücher.example", options(idna=False)), required + "bücher.example")
        with self.assertRaises(DestinationError) as caught:
            parse_destination("bücher..example", SMTP)
        self.assertEqual(caught.exception.events, (DomainNotConverted("bücher..example", "UIDNA_ERROR_EMPTY_LABEL"),))
        self.assertEqual(error("\udcff.example"), required + "\udcff.example")

    def test_loop_detection(self) -> None:
        """Only SMTP to port 25 can come back to us."""
        self.assertTrue(parse_destination("a.example", SMTP).loop_detection)
        self.assertTrue(parse_destination("a.example:025", SMTP).loop_detection)
        self.assertFalse(parse_destination("a.example:587", SMTP).loop_detection)
        self.assertFalse(parse_destination("a.example:25", LMTP).loop_detection)

    def test_wrappermode(self) -> None:
        """Port 465 without wrapper mode is a common mistake."""
        self.assertEqual(parse_destination("a.example:465", SMTP).events, (WrappermodeNeeded("smtp"),))
        self.assertEqual(parse_destination("[a.example]:smtps", LMTP).events, (WrappermodeNeeded("lmtp"),))
        self.assertEqual(parse_destination("a.example:465", options(wrappermode=True)).events, ())
        self.assertEqual(parse_destination("a.example:465", options(helpful_warnings=False)).events, ())

    @settings(deadline=None, max_examples=300)
    @given(st.text("[]:.-_%a1x0ipv6ß\udcff ", max_size=20))
    def test_any(self, text: str) -> None:
        """Any text is a destination with a host and a port, or has an error."""
        try:
            found = parse_destination(text, SMTP)
        except DestinationError as problem:
            self.assertTrue(str(problem))
        else:
            self.assertTrue(found.host)
            self.assertTrue(0 < found.port < 65536)
            self.assertIn(found.host, text)


class ParseNexthopTests(SynchronousTestCase):
    """The whole text."""

    def texts(self, nexthop: str, with_settings: RoutingSettings = SMTP) -> list[tuple[str, bool]]:
        """The elements, and whether they are fallbacks."""
        return [(found.text, found.is_fallback) for found in parse_nexthop(nexthop, with_settings)]

    def test_list(self) -> None:
        """Elements are separated by commas and white space."""
        self.assertEqual(
            self.texts(", a.example,[b.example]:26\tc.example ,"),
            [("a.example", False), ("[b.example]:26", False), ("c.example", False)],
        )

    def test_fallback(self) -> None:
        """Fallback relays come last."""
        found = self.texts("a.example", options(fallback_relay="b.example, [c.example]"))
        self.assertEqual(found, [("a.example", False), ("b.example", True), ("[c.example]", True)])

    def test_malformed(self) -> None:
        """A malformed element keeps its place: it matters only when its turn comes."""
        found = parse_nexthop("a.example, b!", options(fallback_relay="[c"))
        self.assertEqual(
            [destination.problem.reason if destination.problem else "" for destination in found],
            [
                "",
                "valid hostname or network address required in server description: b!",
                'missing "]" in server description: [c',
            ],
        )
        self.assertTrue(found[2].is_fallback)

    def test_empty(self) -> None:
        """A nexthop without any element is a problem, and no fallback relay helps."""
        for nexthop in ("", " ,\t"):
            (found,) = parse_nexthop(nexthop, options(fallback_relay="b.example"))
            self.assertEqual(found.problem, DsnStatus("4.3.5", "empty nexthop hostname"))

    def test_smtp_prefixes(self) -> None:
        """In SMTP, inet: and unix: are host names like any other."""
        self.assertEqual(parse_nexthop("inet:26", SMTP)[0].host, "inet")
        self.assertEqual(parse_nexthop("unix:26", SMTP)[0].host, "unix")

    def test_lmtp_inet(self) -> None:
        """The prefix is taken off once, in front."""
        first, second = parse_nexthop("inet:a.example, inet:b", LMTP)
        self.assertEqual((first.text, first.host, first.port), ("a.example", "a.example", 24))
        self.assertEqual(second.problem, DsnStatus("4.3.5", "unknown service: b/tcp"))

    def test_lmtp_unix(self) -> None:
        """The rest of the text is the path; neither lists nor fallback relays have a place there."""
        with_fallback = options(lmtp=True, fallback_relay="b.example")
        (found,) = parse_nexthop("unix:private/a, b", with_fallback)
        self.assertEqual(
            found, Destination("unix:private/a, b", path="private/a, b", events=(FallbackIgnored("b.example"),))
        )
        self.assertEqual(parse_nexthop("unix:x", LMTP)[0].events, ())

    def test_lmtp_unix_without_path(self) -> None:
        """A socket needs a path."""
        (found,) = parse_nexthop("unix:", LMTP)
        self.assertIsNotNone(found.problem)

    def test_kept(self) -> None:
        """Parsing the same text again costs nothing, and another configuration sees it with its own eyes."""
        self.assertIs(parse_nexthop("a.example", SMTP), parse_nexthop("a.example", SMTP))
        self.assertEqual(parse_nexthop("a.example", SMTP)[0].port, 25)
        self.assertEqual(parse_nexthop("a.example", LMTP)[0].port, 24)

    @settings(deadline=None, max_examples=200)
    @given(st.text("[]:., \taunix1\x00ß", max_size=30), st.booleans())
    def test_any(self, nexthop: str, lmtp: bool) -> None:
        """Any text gives at least one destination, which has a host, a path or a problem."""
        found = parse_nexthop(nexthop, LMTP if lmtp else SMTP)
        self.assertTrue(found)
        for destination in found:
            self.assertEqual(sum((bool(destination.host), bool(destination.path), destination.problem is not None)), 1)
