"""The row type, and each kind of row."""

import enum
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config import parameter
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.parameter import Kind, Load, Rows, in_load_order


class Colour(enum.Enum):
    """Something to choose from."""

    NONE = ""
    RED = "red"
    BLUE = "blue"


class Sample(Rows, load=Load.AGENT):
    """A few rows."""

    smtp_flag = parameter.boolean("no", doc="A flag.")
    smtp_name = parameter.text("$myhostname", 1, lmtp="lmtp_title", doc="A name with another name in LMTP mode.")
    smtp_file = parameter.text("${smtp_name}/$smtp_name$smtpd_name", doc="A default that refers to another row.")
    smtp_wait = parameter.seconds("90d", lmtp_default="0s", doc="A time with another default in LMTP mode.")
    smtp_only = parameter.integer("5", lmtp=None, doc="A number that LMTP mode does not read.")
    shared = parameter.legacy(doc="A name that both read.")


class Early(Rows, load=Load.FIRST):
    """Rows that are read before the others."""

    early_choice = parameter.computed_boolean("yes", doc="Read last of these.")
    early_words = parameter.words("", doc="Read first.")


class RowTests(SynchronousTestCase):
    """What a row knows."""

    def test_class_access(self) -> None:
        """On the class an attribute is the row itself, with its name."""
        self.assertEqual((Sample.smtp_flag.name, Sample.smtp_flag.kind), ("smtp_flag", Kind.BOOLEAN))
        self.assertEqual(Sample.smtp_flag.load, Load.AGENT)
        self.assertEqual(Sample.smtp_flag.doc, "A flag.")

    def test_instance_access(self) -> None:
        """On an instance it is the value, once there is one."""
        sample = Sample()
        error = self.assertRaises(AttributeError, getattr, sample, "smtp_flag")
        self.assertEqual(str(error), "smtp_flag has not been loaded")
        vars(sample)["smtp_flag"] = True
        self.assertIs(sample.smtp_flag, True)

    def test_names(self) -> None:
        """In LMTP mode smtp_ becomes lmtp_, unless the row says otherwise; other names are shared."""
        names = {row.name: (row.name_in("smtp"), row.name_in("lmtp")) for row in Sample.rows}
        self.assertEqual(
            names,
            {
                "smtp_flag": ("smtp_flag", "lmtp_flag"),
                "smtp_name": ("smtp_name", "lmtp_title"),
                "smtp_file": ("smtp_file", "lmtp_file"),
                "smtp_wait": ("smtp_wait", "lmtp_wait"),
                "smtp_only": ("smtp_only", None),
                "shared": ("shared", "shared"),
            },
        )

    def test_defaults(self) -> None:
        """References in a default follow the names; a default of its own stands as it is."""
        self.assertEqual(Sample.smtp_file.default_in("lmtp"), "${lmtp_name}/$lmtp_name$smtpd_name")
        self.assertEqual(Sample.smtp_file.default_in("smtp"), "${smtp_name}/$smtp_name$smtpd_name")
        self.assertEqual((Sample.smtp_wait.default_in("smtp"), Sample.smtp_wait.default_in("lmtp")), ("90d", "0s"))
        self.assertEqual(Sample.smtp_only.default_in("lmtp"), "5")

    def test_load_order(self) -> None:
        """Stages follow each other, in each one kind after the other; legacy rows come last."""
        self.assertEqual(
            [row.name for row in in_load_order((Sample, Early, object))],
            ["early_words", "early_choice", "smtp_wait", "smtp_only", "smtp_name", "smtp_file", "smtp_flag", "shared"],
        )


class KindTests(SynchronousTestCase):
    """How each kind of row reads its text."""

    def test_conversions(self) -> None:
        """Each kind gives its own type of value."""
        doc = "Something."
        self.assertIs(parameter.boolean("no", doc=doc).convert("p", "Yes"), True)
        self.assertIs(parameter.computed_boolean("no", doc=doc).convert("p", "no"), False)
        self.assertEqual(parameter.integer("1", 1, 3, doc=doc).convert("p", "2"), 2)
        self.assertEqual(parameter.long_integer("1", doc=doc).convert("p", "9999999999"), 9999999999)
        self.assertEqual(parameter.seconds("90d", doc=doc).convert("p", "2"), 172800)
        self.assertEqual(parameter.text("", doc=doc).convert("p", " a "), " a ")
        self.assertEqual(parameter.words("", fold=True, doc=doc).convert("p", "A,b"), ("a", "b"))
        self.assertEqual(parameter.words("", colons=True, doc=doc).convert("p", "a:b c"), ("a", "b", "c"))
        self.assertEqual(parameter.items("", doc=doc).convert("p", "x:{a b}, y"), ("x:{a b}", "y"))
        self.assertEqual(parameter.mask("", ("a", "b"), doc=doc).convert("p", "b"), frozenset({"b"}))
        self.assertEqual(parameter.converted("", lambda name, text: text[::-1], doc=doc).convert("p", "ab"), "ba")
        self.assertEqual(parameter.fact(doc=doc).convert("p", "x"), "x")
        self.assertEqual(parameter.integer_fact(doc=doc).convert("p", "12"), 12)
        self.assertEqual(parameter.directory_fact(doc=doc).convert("p", "/a"), Path("/a"))
        self.assertIsNone(parameter.directory_fact(doc=doc).convert("p", ""))

    def test_below_zero(self) -> None:
        """A negative number that no limit stops counts as 0, so that nobody has to think of it."""
        self.assertEqual(parameter.integer("1", 0, 6, doc="Something.").convert("p", "-1"), 0)
        self.assertEqual(parameter.long_integer("1", doc="Something.").convert("p", "-1"), 0)

    def test_choice(self) -> None:
        """A word in any case; another one is complained of in the row's own words."""
        row = parameter.choice(Colour, "red", "bad {name} value: {value}", doc="A colour.")
        self.assertIs(row.convert("p", "BLUE"), Colour.BLUE)
        self.assertIs(row.convert("p", ""), Colour.NONE)
        self.assertEqual(self.assertRaises(ConfigError, row.convert, "p", "Green").text, "bad p value: Green")

    def test_accepts(self) -> None:
        """Limits and words are there for people to read."""
        doc = "Something."
        self.assertEqual(parameter.integer("1", 1, 3, doc=doc).accepts, "min 1 max 3")
        self.assertEqual(parameter.text("", 1, doc=doc).accepts, "at least 1 byte")
        self.assertEqual(parameter.text("", 2, 2, doc=doc).accepts, "at least 2 bytes, at most 2 bytes")
        self.assertEqual(parameter.choice(Colour, "red", "", doc=doc).accepts, "(empty), red, blue")
