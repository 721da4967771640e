"""Tests of twisted_mta.tables.cidr and twisted_mta.tables.networks."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import TablesCase
from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.networks import NetworkError, parse_address, parse_network, without_brackets

addresses = st.one_of(
    st.integers(0, 7).map(lambda low: f"10.0.{low // 4}.{low % 4}"),
    st.integers(0, 7).map(lambda low: f"2001:db8::{low:x}"),
)
networks = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(28, 32)).map(
        lambda pair: str(ipaddress.ip_network((f"10.0.{pair[0] // 4}.{pair[0] % 4}", pair[1]), strict=False))
    ),
    st.tuples(st.integers(0, 7), st.integers(125, 128)).map(
        lambda pair: str(ipaddress.ip_network((f"2001:db8::{pair[0]:x}", pair[1]), strict=False))
    ),
    st.sampled_from(["0.0.0.0/0", "::/0"]),
)


class NetworkTests(SynchronousTestCase):
    """Networks as numbers."""

    def test_addresses(self) -> None:
        """What inet_pton(3) takes, and nothing else."""
        for text in ("1.2.3.4", "::1", "2001:DB8:0:0::1", "::ffff:1.2.3.4"):
            address = parse_address(text)
            assert address is not None
            self.assertEqual(address.number, int(ipaddress.ip_address(text)))
        for text in (
            "",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4 ",
            "[::1]",
            "::1%lo",
            "fe80::1%eth0",
            "example.com",
            "1.2.3.4\0",
        ):
            self.assertIsNone(parse_address(text), text)

    @given(networks, addresses)
    @settings(deadline=None)
    def test_contains(self, network: str, address: str) -> None:
        """An address is in a network as Python's own library has it."""
        found = parse_address(address)
        assert found is not None
        other, mine = ipaddress.ip_address(address), ipaddress.ip_network(network)
        self.assertEqual(parse_network(network).contains(found), other.version == mine.version and other in mine)

    def test_errors(self) -> None:
        """What is wrong, in Postfix's words."""
        for text, problem in (
            ("1.2.3", 'bad address pattern: "1.2.3"'),
            ("", 'bad address pattern: ""'),
            ("1.2.3.0/33", 'bad mask length in "1.2.3.0/33"'),
            ("::/129", 'bad mask length in "::/129"'),
            ("1.2.3.0/" + "9" * 5000, 'bad mask length in "1.2.3.0/' + "9" * 5000 + '"'),
            ("1.2.3.0/-1", 'bad mask value in "1.2.3.0/-1"'),
            ("1.2.3.0/", 'bad mask value in "1.2.3.0/"'),
            ("1.2.3.0/24/24", 'bad mask value in "1.2.3.0/24/24"'),
            ("/24", 'bad network value in "/24"'),
            ("1.2.3/24", 'bad network value in "1.2.3/24"'),
            ("1.2.3/33", 'bad mask length in "1.2.3/33"'),
            ("z:/129", 'bad mask length in "z:/129"'),
            (
                "1.2.3.1/24",
                'non-null host address bits in "1.2.3.1/24", perhaps you should use "1.2.3.0/24" instead',
            ),
            (
                "2001:db8::1/32",
                'non-null host address bits in "2001:db8::1/32", perhaps you should use "2001:db8::/32" instead',
            ),
        ):
            with self.assertRaises(NetworkError) as caught:
                parse_network(text)
            self.assertEqual(str(caught.exception), problem)

    def test_brackets(self) -> None:
        """Brackets may stand around an address, or an address and a length."""
        for text in ("[1.2.3.0]/24", "[1.2.3.0/24]", "1.2.3.0/24"):
            self.assertEqual(without_brackets(text), "1.2.3.0/24")
        for text, problem in (
            ("[1.2.3.4", "missing ']' character after \"[1.2.3.4\""),
            ("[1.2.3.4]x", 'garbage after "[1.2.3.4]"'),
            ("[1.2.3.0/24]/24", 'bad network value in "1.2.3.0/24/24"'),
        ):
            with self.assertRaises(NetworkError) as caught:
                without_brackets(text)
            self.assertEqual(str(caught.exception), problem)


class CidrTests(TablesCase):
    """Type cidr."""

    def rules(self, text: str, *keys: str) -> list[str | None]:
        """What a table finds for each key."""
        self.opened.tables.close()
        self.opened.events.clear()
        self.path = self.opened.write("rules", text)
        return [self.opened.find(f"cidr:{self.path}", key) for key in keys]

    def test_first_counts(self) -> None:
        """The first network that contains an address, whatever the length of its mask."""
        text = "10.1.0.0/16 first\n10.0.0.0/8 second\n10.1.2.3 never\n[2001:db8::]/32  six  words \n0.0.0.0/0 rest\n"
        keys = ("10.1.2.3", "10.2.0.0", "1.1.1.1", "2001:db8::5", "2002::", "example.com", "[10.1.2.3]", "")
        expected = ["first", "second", "rest", "six  words", None, None, None, None]
        self.assertEqual(self.rules(text, *keys), expected)
        self.assertTrue(verifyObject(ILookupTable, self.opened.tables.open(f"cidr:{self.path}")))
        self.assertEqual(self.opened.events, [])

    def test_negation(self) -> None:
        """A negated network stands for all other addresses of its kind."""
        found = self.rules("!10.0.0.0/8 X\n::/0 Y", "10.1.1.1", "11.1.1.1", "::1")
        self.assertEqual(found, [None, "X", "Y"])
        self.assertEqual(self.rules("! ! 10.0.0.0/8 X", "10.1.1.1", "11.1.1.1"), ["X", None])

    def test_conditions(self) -> None:
        """Rules between if and endif, in each other, and with the opposite sense."""
        text = "if 10.0.0.0/8\nIF !10.1.0.0/16\n0.0.0.0/0 A\nendif\n10.1.2.3 B\nENDIF\n0.0.0.0/0 C"
        self.assertEqual(self.rules(text, "10.2.0.0", "10.1.2.3", "10.1.0.0", "11.0.0.0"), ["A", "B", "C", "C"])
        self.assertEqual(self.rules("if[10.0.0.0/8]\n0.0.0.0/0 A\nendif", "10.0.0.1", "11.0.0.1"), ["A", None])
        self.assertEqual(self.rules("if 10.0.0.0/8\n0.0.0.0/0 A", "10.0.0.1", "11.0.0.1"), ["A", None])
        self.assertEqual(self.opened.lines, [f"warning: cidr map {self.path}, line 1: IF has no matching ENDIF"])

    def test_odd_rules(self) -> None:
        """A rule that is wrong is told and left out; the others work."""
        for rule, problem in (
            ("1.2.3.4", "no lookup result"),
            ("!", "no address pattern"),
            ("if", "no address pattern"),
            ("endif", "ENDIF without IF"),
            ("endif x", "garbage after ENDIF"),
            ("foo X", 'bad address pattern: "foo"'),
            ("endif[", "garbage after ENDIF"),
            ("ifx", 'bad address pattern: "ifx"'),
            ("if1.0.0.0/8", 'bad network value in "if1.0.0.0/8"'),
            ("if 1.0.0.0/8 text", 'bad mask value in "1.0.0.0/8 text"'),
            ("[1.2.3.4 X", "missing ']' character after \"[1.2.3.4\""),
            ("1.2.3.1/24 X", 'non-null host address bits in "1.2.3.1/24", perhaps you should use "1.2.3.0/24" instead'),
        ):
            self.assertEqual(self.rules(f"# comment\n{rule}\n1.2.3.4 other", "1.2.3.4"), ["other"], rule)
            self.assertEqual(
                self.opened.lines, [f"warning: cidr map {self.path}, line 2: {problem}: skipping this rule"]
            )

    def test_inline(self) -> None:
        """Rules in the name of the table."""
        self.assertEqual(self.opened.find("cidr:{{1.2.3.0/24 X}, {!0.0.0.0/0 Y}}", "1.2.3.4"), "X")
        self.assertEqual(self.opened.find("cidr:{{#1.2.3.0/24 X}, {0.0.0.0/0 Y}}", "1.2.3.4"), "Y")
        self.assertEqual(self.opened.events, [])
        self.assertEqual(self.opened.problem("cidr:{1.2.3.4 X}"), "cidr map: no '{' at start of text in \"1.2.3.4\"")

    @given(
        st.lists(st.tuples(st.sampled_from(("", "", "", "!")), networks), max_size=12),
        st.lists(addresses, min_size=1, max_size=4),
    )
    @settings(deadline=None, max_examples=60)
    def test_one_by_one(self, rules: list[tuple[str, str]], keys: list[str]) -> None:
        """The answer is that of one who tries rule after rule."""
        text = "".join(f"{sense}{network} {number}\n" for number, (sense, network) in enumerate(rules))
        expected = [
            next((str(number) for number, rule in enumerate(rules) if applies(rule, ipaddress.ip_address(key))), None)
            for key in keys
        ]
        self.assertEqual(self.rules(text, *keys), expected)

    @given(st.text(st.sampled_from("if endif!10./:[]ax\n"), max_size=40))
    @settings(deadline=None)
    def test_any_rules(self, text: str) -> None:
        """Any file of rules can be read."""
        self.rules(text, "10.0.0.1")


def applies(rule: tuple[str, str], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a rule applies to an address."""
    sense, network = rule[0], ipaddress.ip_network(rule[1])
    return network.version == address.version and (address in network) != bool(sense)
