"""Templates with letters, and what is made of results."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.tables.results import LONGEST_RESULT, LookupFailedError, Results
from twisted_mta.tables.templates import KeyParts, parse_template


def fill(template: str, key: str) -> str | None:
    """What a query becomes, with its parts in angle brackets."""
    return parse_template(template, "file", "query").fill(KeyParts(key), lambda part: f"<{part}>")


class TemplateTests(SynchronousTestCase):
    def test_letters(self) -> None:
        """Each letter stands for its part of the key; what is put in is quoted, literal text is not."""
        for template, wanted in [
            ("%s", "<u@x@b.c.example>"),
            ("%S", "<u@x@b.c.example>"),
            ("%u", "<u@x>"),
            ("%d", "<b.c.example>"),
            ("%1 %2 %3", "<example> <c> <b>"),
            ("a%%b", "a%b"),
            ("", ""),
        ]:
            self.assertEqual(fill(template, "u@x@b.c.example"), wanted)

    def test_missing_parts(self) -> None:
        """Nothing is asked where a part is missing; a key without domain is all user."""
        for template, key in [("%d", "user"), ("%d", "user@"), ("%u", "@d"), ("%2", "u@d"), ("%1", "d.example")]:
            self.assertIsNone(fill(template, key))
        self.assertEqual(fill("%u", "user"), "<user>")
        self.assertEqual(fill("%d", "@d"), "<d>")
        self.assertEqual(fill("%2.%1", "u@..b..c."), "<b>.<c>")

    def test_unknown_letters(self) -> None:
        """A letter without meaning is a mistake of the configuration."""
        for text in ["%x", "%0", "a%", "% s"]:
            with self.assertRaises(ConfigError) as caught:
                parse_template(text, "file", "query")
            self.assertEqual(caught.exception.text, f"db_common_parse: file: Invalid query template: {text}")

    @settings(deadline=None, max_examples=100)
    @given(st.text(alphabet="ab%@.'sud", max_size=20))
    def test_keys_are_put_in_whole(self, key: str) -> None:
        """What a key holds never counts as a template."""
        self.assertEqual(fill("[%s]", key), f"[<{key}>]")


class ResultsTests(SynchronousTestCase):
    def results(self, result_format: str = "%s", limit: int = 0, key: str = "K@key.example") -> Results:
        """An empty collection."""
        self.warnings: list[str] = []
        template = parse_template(result_format, "file", "result")
        return Results("t:n", KeyParts(key), template, limit, "too many for", self.warnings.append)

    def test_joined(self) -> None:
        """Values are joined; empty ones are told and left out; none at all is not found."""
        results = self.results()
        self.assertIsNone(results.joined())
        results.add_all(["a", "", "b\0c"])
        self.assertEqual(results.joined(), "a,b")
        self.assertEqual(self.warnings, ['table "t:n": empty lookup result for: "K@key.example" -- ignored'])

    def test_result_format(self) -> None:
        """Small letters are of the value, others of the key; a value without the part is left out."""
        results = self.results("%u|%D|%2")
        results.add_all(["a@b", "@b", "plain"])
        self.assertEqual(results.joined(), "a|key.example|key,plain|key.example|key")

    def test_too_many(self) -> None:
        """One more than the limit is an error."""
        results = self.results(limit=2)
        results.add_all(["a", "b"])
        with self.assertRaises(LookupFailedError) as caught:
            results.add("c")
        self.assertEqual(caught.exception.warning, "too many for 'K@key.example'")

    def test_too_long(self) -> None:
        """A database cannot fill the memory."""
        results = self.results()
        with self.assertRaises(LookupFailedError):
            results.add_all("x" * 1000 for _ in range(LONGEST_RESULT))
