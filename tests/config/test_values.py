"""Values of main.cf; each expectation is what a running smtp(8) makes of the same text."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config import values
from twisted_mta.config.errors import ConfigError

ANY_TEXT = st.text(st.sampled_from("0123456789+-. smhdwyesno,:={}\t٣é"), max_size=25)


class BooleanTests(SynchronousTestCase):
    """`read_boolean`."""

    def test_words(self) -> None:
        """Yes and no, in any case."""
        self.assertEqual(
            [values.read_boolean("p", text) for text in ("yes", "YES", "no", "No")], [True, True, False, False]
        )

    def test_others(self) -> None:
        """Nothing else, not even blanks around it."""
        for text in ("true", "1", "on", "", " yes", "y"):
            error = self.assertRaises(ConfigError, values.read_boolean, "p", text)
            self.assertEqual(error.text, f"bad boolean configuration: p = {text}")


class IntegerTests(SynchronousTestCase):
    """`read_integer`."""

    def test_numbers(self) -> None:
        """Digits, with blanks and a sign before them."""
        for text, number in {"5": 5, "+5": 5, "-5": -5, " 6": 6, "0010": 10, "2147483647": 2147483647}.items():
            self.assertEqual(values.read_integer("p", text), number)

    def test_no_numbers(self) -> None:
        """Nothing else, and nothing that an int cannot hold."""
        for text in ("0x10", "5x", "", "5 6", "5 ", "2147483648", "-2147483649", "9" * 5000, "٣", "--5"):
            error = self.assertRaises(ConfigError, values.read_integer, "p", text)
            self.assertEqual(error.text, f"bad numerical configuration: p = {text}")

    def test_long(self) -> None:
        """A long holds more."""
        self.assertEqual(values.read_integer("p", "99999999999", largest=values.LARGEST_LONG), 99999999999)

    def test_limits(self) -> None:
        """A limit is named in the error; a limit of 0 is none."""
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_integer, "p", "0", 1).text, "invalid p parameter value 0 < 1"
        )
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_integer, "p", "7", 0, 6).text, "invalid p parameter value 7 > 6"
        )
        self.assertEqual(values.read_integer("p", "-1", 0, 6), -1)


class SecondsTests(SynchronousTestCase):
    """`read_seconds`."""

    def test_times(self) -> None:
        """Digits and a unit; only the first letter counts, a unit alone is zero."""
        for text, seconds in {
            "300s": 300,
            "300": 300,
            "5m": 300,
            "2h": 7200,
            "1d": 86400,
            "1w": 604800,
            "10seconds": 10,
            "1min": 60,
            "1m2": 60,
            "+5": 5,
            " 5s": 5,
            "-0": 0,
            "s": 0,
            "0": 0,
            "2147483647": 2147483647,
            "24854d": 24854 * 86400,
        }.items():
            self.assertEqual(values.read_seconds("p", text), seconds, text)

    def test_default_unit(self) -> None:
        """A bare number has the unit of the parameter's default."""
        self.assertEqual(values.read_seconds("p", "2", "d"), 172800)

    def test_no_times(self) -> None:
        """Anything else, a sign alone, and what an int cannot hold."""
        for text in (
            "1.5h",
            "10 s",
            "-1",
            "",
            "10S",
            "+s",
            " s",
            "5,",
            "0x5",
            "2147483648",
            "24855d",
            "3550w",
            "9" * 5000,
        ):
            error = self.assertRaises(ConfigError, values.read_seconds, "p", text)
            self.assertEqual(error.text, f"parameter p: bad time value or unit: {text}")

    def test_limits(self) -> None:
        """A limit is named in the error, in seconds."""
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_seconds, "p", "0", "s", 1).text, "invalid p: 0 (min 1)"
        )
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_seconds, "p", "1m", "s", 0, 10).text, "invalid p: 60 (max 10)"
        )


class TextTests(SynchronousTestCase):
    """`read_text`."""

    def test_lengths(self) -> None:
        """Lengths are those of the bytes."""
        self.assertEqual(values.read_text("p", ""), "")
        self.assertEqual(values.read_text("p", ":", 1, 1), ":")
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_text, "p", "", 1).text, "bad string length 0 < 1: p = "
        )
        self.assertEqual(
            self.assertRaises(ConfigError, values.read_text, "p", "ü", 1, 1).text, "bad string length 2 > 1: p = ü"
        )


class ListTests(SynchronousTestCase):
    """Lists of words and items."""

    def test_words(self) -> None:
        """Commas and white space separate; empty words vanish."""
        self.assertEqual(values.split_words(" a,,b\tc\r\nd , "), ("a", "b", "c", "d"))
        self.assertEqual(values.split_words(", \t"), ())

    def test_items(self) -> None:
        """Braces protect what separates."""
        self.assertEqual(
            values.split_items("hash:/a, inline:{ {b = c d}, e=f } pcre:/x"),
            ("hash:/a", "inline:{ {b = c d}, e=f }", "pcre:/x"),
        )
        self.assertEqual(values.split_items("a{b, c"), ("a{b, c",))
        self.assertEqual(values.split_items("a} b"), ("a}", "b"))
        self.assertEqual(values.split_items(""), ())

    def test_mask(self) -> None:
        """Only words of the vocabulary, and only in its case."""
        self.assertEqual(values.read_mask("p", "b, a b", ("a", "b", "c")), {"a", "b"})
        error = self.assertRaises(ConfigError, values.read_mask, "p", "a,B c", ("a", "b", "c"))
        self.assertEqual(error.text, 'unknown p value "B" in "a,B c"')

    def test_inet_protocols(self) -> None:
        """IPv4 comes first; all, and an empty list, are both."""
        for text, families in {
            "all": ("ipv4", "ipv6"),
            "ipv6, ipv4": ("ipv4", "ipv6"),
            "ipv6": ("ipv6",),
            "ipv4 all": ("ipv4", "ipv6"),
            "": ("ipv4", "ipv6"),
        }.items():
            self.assertEqual(values.read_inet_protocols("inet_protocols", text), families)
        error = self.assertRaises(ConfigError, values.read_inet_protocols, "inet_protocols", "ipv4, x")
        self.assertEqual(error.text, 'unknown inet_protocols value "x" in "ipv4, x"')


class LevelTests(SynchronousTestCase):
    """`parse_level`."""

    def test_levels(self) -> None:
        """One to three numbers."""
        for text, level in {"0": (0, 0, 0), "3.6": (3, 6, 0), "3.10.2": (3, 10, 2), "03.6": (3, 6, 0)}.items():
            self.assertEqual(values.parse_level(text), level)

    def test_malformed(self) -> None:
        """Nothing else, and no minor number that Postfix cannot hold."""
        for text in ("", "x", "3.", ".3", "1.2.3.4", "-1", "3.6x", "3 . 6", "3.1024", "8796093022208", "9" * 5000):
            error = self.assertRaises(ConfigError, values.parse_level, text)
            self.assertEqual(error.text, f'malformed compatibility level syntax: "{text}"')


class KnownPortTests(SynchronousTestCase):
    """`parse_known_tcp_ports`."""

    def test_ports(self) -> None:
        """Names, also several for one port; the default of Postfix."""
        ports, warnings = values.parse_known_tcp_ports("lmtp=24, smtp =\t25, smtps=submissions=465, submission=587")
        self.assertEqual(ports, {"lmtp": 24, "smtp": 25, "smtps": 465, "submissions": 465, "submission": 587})
        self.assertEqual(warnings, [])

    def test_malformed(self) -> None:
        """A wrong item is passed over, with Postfix's words."""
        for item, problem in {
            "foo": ' is not in "name = value" form',
            "foo=": ': missing port value after "="',
            "=": ': missing port value after "="',
            "=25": ': missing service name before "="',
            "c=d": ": non-numerical service port",
            "a=-1": ": non-numerical service port",
            "a=1 2": ": whitespace in port number",
            "a b=1": ": whitespace in service name",
            "1=25": ": numerical service name",
            "a=a=1": ": duplicate service name",
            "x=26": ": duplicate service name",
        }.items():
            ports, warnings = values.parse_known_tcp_ports(f"x=1,{item},,y=2")
            self.assertEqual(ports, {"x": 1, "y": 2})
            self.assertEqual(warnings, [f'known_tcp_ports: in "{item}"{problem}'])


class AnyTextTests(SynchronousTestCase):
    """No text breaks a reader."""

    @settings(deadline=None, max_examples=200)
    @given(ANY_TEXT)
    def test_any_text(self, text: str) -> None:
        """Each reader gives a value, or a ConfigError."""
        readers: tuple[Callable[[], object], ...] = (
            lambda: values.read_boolean("p", text),
            lambda: values.read_integer("p", text, 1, 10),
            lambda: values.read_seconds("p", text, "d"),
            lambda: values.parse_level(text),
            lambda: values.read_inet_protocols("p", text),
        )
        for reader in readers:
            try:
                value = reader()
            except ConfigError as error:
                self.assertTrue(error.text)
            else:
                self.assertIsNotNone(value)

    @settings(deadline=None, max_examples=200)
    @given(ANY_TEXT)
    def test_split(self, text: str) -> None:
        """Splitting loses nothing but separators, and changes nothing where there are no braces."""
        self.assertEqual("".join(values.split_words(text)), "".join(c for c in text if c not in values.SEPARATORS))
        unbraced = text.replace("{", "").replace("}", "")
        self.assertEqual(values.split_items(unbraced), values.split_words(unbraced))
        self.assertNotIn("", values.split_items(text))
