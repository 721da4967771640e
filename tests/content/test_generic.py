"""Tests of twisted_mta.content.generic; what smtp(8) does was observed."""

from collections.abc import Mapping
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.content.driving import Answer, complete, generic, result
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.generic import ADDRESS_HEADERS, GenericMapper, GenericRules
from twisted_mta.content.lookups import Asked, Replacement
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of

Table = Mapping[str, str | Replacement | None]


class GenericTestCase(SynchronousTestCase):
    """A mapper and what it logs."""

    def setUp(self) -> None:
        """Nothing is logged yet."""
        self.events: list[Event] = []
        self.completed: list[str] = []

    @property
    def log(self) -> list[str]:
        """The lines of the log."""
        return [line_of(event, LogStyle())[1] for event in self.events]

    def mapper(self, **rules: bool) -> GenericMapper:
        """A mapper."""
        return GenericMapper(GenericRules(**rules), "4Abc12", self.events.append)  # type: ignore[arg-type] # one is a bool

    def answers(self, table: Table) -> dict[Asked, Answer]:
        """Generic maps with these entries; what is to be completed is noted."""

        def rewrite(address: str) -> str:
            self.completed.append(address)
            return str(complete(address))

        return {Asked.GENERIC: generic(table), Asked.REWRITE: rewrite}

    def mapped(self, address: str, table: Table, **rules: bool) -> str | None:
        """What takes the place of an address."""
        return result(self.mapper(**rules).replacement_for(address), self.answers(table))

    def header(self, text: str, table: Table) -> str:
        """What becomes of a header."""
        made = result(self.mapper().rewrite_header(text.encode()), self.answers(table))
        return made.decode()


class AddressTests(GenericTestCase):
    """One address."""

    def test_not_there(self) -> None:
        """It stays."""
        self.assertIsNone(self.mapped("a@b.c", {}))
        self.assertEqual(self.completed, [])

    def test_address(self) -> None:
        """The first address in the value takes its place, canonical and without quotes."""
        for value, new in {
            "x@y.z": "x@y.z",
            "Full Name <x@y.z>": "x@y.z",
            "foo: x@y;": "x@y.my.test",
            "x": "x@origin.test",
            '"q s"@y.z': "q s@y.z",
            "x@[192.0.2.1]": "x@[192.0.2.1]",
            "<>": "@origin.test",
        }.items():
            self.assertEqual(self.mapped("a@b.c", {"a@b.c": value}), new)
        self.assertEqual(self.completed[4], '"q s"@y.z')
        self.assertEqual(self.log, [])

    def test_domain(self) -> None:
        """A value that begins with ``@`` keeps the local part, without the extension that the table did not have."""
        for address, found, new in (
            ("a+e@b.c", Replacement("@y.z"), "a+e@y.z"),
            ("a+e@b.c", Replacement("@y.z", "+e"), "a@y.z"),
            ("a b@b.c", Replacement("@y.z"), "a b@y.z"),
            ("a@b@b.c", Replacement("@y.z"), "a@b@y.z"),
            ("@r:a@b.c", Replacement("@y.z"), "@r:a@y.z"),
            ("a", Replacement("@y"), "a@y.my.test"),
            ("@b.c", Replacement("@y.z"), "@y.z"),
            ("a@b.c", Replacement("@y.z, u@v.w"), "a@y.z, u@v.w"),
        ):
            self.assertEqual(self.mapped(address, {address: found}), new)

    def test_extension(self) -> None:
        """It is put behind the local part only if propagate_unmatched_extensions says so."""
        table: Table = {"a+e@b.c": Replacement("x@y.z", "+e"), "u+e": Replacement("x", "+e"), "w+e@b.c": "x@y.z"}
        self.assertEqual(self.mapped("a+e@b.c", table), "x@y.z")
        self.assertEqual(self.mapped("a+e@b.c", table, keep_extension=True), "x+e@y.z")
        self.assertEqual(self.mapped("u+e", table, keep_extension=True), "x+e@origin.test")
        self.assertEqual(self.mapped("w+e@b.c", table, keep_extension=True), "x@y.z")
        self.assertEqual(self.completed, ["x@y.z", "x@y.z", "x", "x@y.z"])

    def test_several(self) -> None:
        """A second address is complained about."""
        self.assertEqual(self.mapped("a b@b.c", {"a b@b.c": "x@y.z, u@v.w"}), "x@y.z")
        self.assertEqual(self.log, ["multi-valued smtp_generic_maps result for a b@b.c"])

    def test_no_recursion(self) -> None:
        """What has been found is not looked up."""
        self.assertEqual(self.mapped("a@b.c", {"a@b.c": "x@y.z", "x@y.z": "u@v.w"}), "x@y.z")

    def failed(self, table: Table, answers: dict[Asked, Answer] | None = None) -> str:
        """The reason why an address cannot be replaced."""
        core = self.mapper().replacement_for("a@b.c")
        error = self.assertRaises(ContentFailedError, result, core, answers or self.answers(table))
        self.assertEqual(error.why.status, "4.3.0")
        return str(error.why.reason)

    def test_value_without_address(self) -> None:
        """The mail must wait."""
        for value in ("(comment)", ","):
            self.events.clear()
            self.assertEqual(self.failed({"a@b.c": value}), "smtp_generic_maps map lookup problem for a@b.c")
            self.assertEqual(
                self.log,
                [
                    f'smtp_generic_maps lookup of a@b.c returns non-address result "{value}"',
                    "4Abc12: smtp_generic_maps map lookup problem for a@b.c",
                ],
            )

    def test_table_failed(self) -> None:
        """The same if a table failed."""
        self.assertEqual(self.failed({"a@b.c": None}), "smtp_generic_maps map lookup problem for a@b.c")
        self.assertEqual(self.log, ["4Abc12: smtp_generic_maps map lookup problem for a@b.c"])

    def test_rewriting_failed(self) -> None:
        """The same if an address cannot be completed: unrewritten mail never leaves."""

        def rewrite(address: str) -> str:
            raise TableError("private/rewrite", "no reply", address)

        answers = {Asked.GENERIC: generic({"a@b.c": "x@y.z"}), Asked.REWRITE: rewrite}
        self.assertEqual(self.failed({}, answers), "smtp_generic_maps map lookup problem for a@b.c")

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_any_value(self, address: str, value: str) -> None:
        """There is a replacement or a failure, whatever a table has."""
        try:
            self.mapped(address, {address: value})
        except ContentFailedError as failed:
            self.assertEqual(failed.why.status, "4.3.0")


class HeaderTests(GenericTestCase):
    """Headers with addresses."""

    TABLE: ClassVar[Table] = {"m@m.test": "x@y.test", "q s@m.test": '"q t"@y.test', "i@m.test": "i@m.test"}

    def test_nothing_found(self) -> None:
        """The header stays, to the last blank."""
        for text in ("To:a@b ,  c  ( d )", "To: a,\n\tb", "To: ", "To: (open"):
            self.assertEqual(self.header(text, self.TABLE), text)

    def test_found(self) -> None:
        """The header is written anew, with its name as it was."""
        for text, new in {
            "To: m@m.test": "To: x@y.test",
            "tO:<m@m.test>": "tO: <x@y.test>",
            "To: John Q. P <m@m.test>": "To: John Q.P <x@y.test>",
            'To: "Doe, J" <m@m.test>, u@m.test (U), <"q s"@m.test>': 'To: "Doe, J" <x@y.test>, u@m.test (U), <"q t"@y.test>',
            "To: g: m@m.test;": "To: g: x@y.test;",
            "To: J. P. <i@m.test>": "To: J.P. <i@m.test>",
            "To: m@m.test,": "To: x@y.test, ",
        }.items():
            self.assertEqual(self.header(text, self.TABLE), new)

    def test_folding(self) -> None:
        """Lines are joined while they have less than 70 octets; the others begin with a tab."""
        self.assertEqual(
            self.header("Cc: " + ", ".join(["m@m.test"] * 9), self.TABLE),
            "Cc: x@y.test, x@y.test, x@y.test, x@y.test, x@y.test, x@y.test,\n\tx@y.test, x@y.test, x@y.test",
        )
        self.assertEqual(self.header(f"To: {'a' * 56}, m@m.test", self.TABLE), f"To: {'a' * 56},\n\tx@y.test")
        self.assertEqual(self.header(f"To: {'a' * 55}, m@m.test", self.TABLE), f"To: {'a' * 55}, x@y.test")
        self.assertEqual(self.header(f"To: {'ä' * 28}, m@m.test", self.TABLE), f"To: {'ä' * 28},\n\tx@y.test")

    def test_folded_comment(self) -> None:
        """A line end in a comment becomes a blank, or a place to fold."""
        self.assertEqual(self.header("To: m@m.test (a\n b)", self.TABLE), "To: x@y.test (a  b)")
        self.assertEqual(self.header(f"To: m@m.test ({'a' * 60}\n b)", self.TABLE), f"To: x@y.test ({'a' * 60}\n\t b)")

    def test_long_comment(self) -> None:
        """It is left out, with a warning; not in a header that stays as it is."""
        comment = "c" * 300
        self.assertEqual(self.header(f"To: m@m.test ({comment}), a (d)", self.TABLE), "To: <x@y.test>, a (d)")
        self.assertEqual(self.log, [f"stripping too many comments from address: x@y.test ({comment[:90]}..."])
        self.assertEqual(self.header(f"To: a ({comment})", self.TABLE), f"To: a ({comment})")

    def test_null_address(self) -> None:
        """Nothing between angle brackets is not looked up, an empty quoted string is."""
        self.assertEqual(self.header('To: <>, ""', {"": "x@y.test"}), "To: <>, x@y.test")

    def test_bytes(self) -> None:
        """Octets that are not UTF-8 pass."""
        made = result(self.mapper().rewrite_header(b"To: \xe4 <m@m.test>"), self.answers(self.TABLE))
        self.assertEqual(made, b"To: \xe4 <x@y.test>")

    def test_names(self) -> None:
        """The headers with addresses are known by their names in lower case."""
        for name in (b"to", b"resent-reply-to", b"disposition-notification-to", b"return-path"):
            self.assertIn(name, ADDRESS_HEADERS)
        for name in (b"To", b"delivered-to", b"message-id", b"x-to", b"subject"):
            self.assertNotIn(name, ADDRESS_HEADERS)
