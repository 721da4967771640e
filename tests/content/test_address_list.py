"""Tests of twisted_mta.content.address_list and address_tokens; the vectors are what smtp(8) made of these headers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.content.address_list import Address, parse, quoted, write
from twisted_mta.content.address_tokens import Kind, Token, scan


def addresses(text: str) -> list[str]:
    """The addresses in a header, as tables are asked for them."""
    return [quoted(node.text) for node in parse(text) if isinstance(node, Address) and not node.is_null]


def written(text: str) -> str:
    """A header once more."""
    return write(parse(text)).text.replace(",\n", ", ")


class TokenTests(SynchronousTestCase):
    """RFC 822 section 3.3."""

    def test_tokens(self) -> None:
        """Words, quoted strings, literals, comments and specials."""
        self.assertEqual(
            list(scan('a."b \\"c"@[1.2] (x(y)\\)z)<')),
            [
                Token(Kind.ATOM, "a"),
                Token(Kind.OPERATOR, "."),
                Token(Kind.QUOTED, 'b "c'),
                Token(Kind.OPERATOR, "@"),
                Token(Kind.LITERAL, "1.2"),
                Token(Kind.COMMENT, "(x(y)\\)z)"),
                Token(Kind.OPERATOR, "<"),
            ],
        )

    def test_words_that_need_quotes(self) -> None:
        """A word with an escaped blank or special, or a control character, counts as quoted."""
        kinds = {text: next(scan(text)).kind for text in ("a\\ b", "a\\,b", "a\x01b", "a\\b", "\xe4\\\xe4")}
        self.assertEqual([text for text, kind in kinds.items() if kind is Kind.QUOTED], ["a\\ b", "a\\,b", "a\x01b"])

    def test_blanks_in_quotes(self) -> None:
        """They become spaces; those in comments stay."""
        self.assertEqual(
            [token.text for token in scan('"a\t\n b" [c\td] (e\tf) g\\\th')], ["a   b", "c d", "(e\tf)", "g h"]
        )

    def test_never_closed(self) -> None:
        """What is never closed goes on to the end."""
        for text, kind, inner in (
            ('"a,b', Kind.QUOTED, "a,b"),
            ("[a,b", Kind.LITERAL, "a,b"),
            ("(a,(b)", Kind.COMMENT, "(a,(b)"),
            ('"a\\', Kind.QUOTED, "a"),
            ("a\\", Kind.ATOM, "a"),
        ):
            self.assertEqual(list(scan(text)), [Token(kind, inner)])

    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """It ends."""
        list(scan(text))


class ParseTests(SynchronousTestCase):
    """Which addresses are in a header."""

    def test_addresses(self) -> None:
        """Of mailboxes, lists, groups and whatever else people write."""
        for text, found in {
            "a@b": ["a@b"],
            "<a@b>": ["a@b"],
            "x y z <a@b>": ["a@b"],
            '"Doe, John" <a@b>, c@d (C)': ["a@b", "c@d"],
            "u: a@b, c@d;, e@f": ["a@b", "c@d", "e@f"],
            "g: foo <b>, bar <c>;": ["b", "c"],
            "a : b , c : d ;": ["b", "d"],
            "u: (c) ;": [],
            "a @ b . c": ["a@b.c"],
            "a b c@d e": ["a", "b", "c@d", "e"],
            "<a@b> <c@d>": ["a@b", "c@d"],
            "<a@b> foo": ["a@b", "foo"],
            "<a b@c>": ["ab@c"],
            "a(c)@(d)b": ["a@b"],
            "a(c)b@d": ["a", "b@d"],
            '"a b"@c': ['"a b"@c'],
            'a."b c".d@e': ['"a.b c.d"@e'],
            'x"y"@z': ["x", "y@z"],
            "a@[1.2.3.4]": ["a@[1.2.3.4]"],
            "<@r,@r2:a@b.c>": ["@r,@r2:a@b.c"],
            "@r,@r2:a@b.c": ['""@r', "@r2:a@b.c"],
            "a:b": ['"a:b"'],
            "g:<b>": ["g", "b"],
            "a;b": ["a", "b"],
            "a@b@c": ['"a@b"@c'],
            "a|b%c!d": ["a|b%c!d"],
            "<a": ['"<a"'],
            "a>, b": ["a", "b"],
            '""': ['""'],
            "<>": [],
            "@": ['""@'],
            ",,a,,": ["a"],
            "": [],
        }.items():
            self.assertEqual(addresses(text), found, text)

    def test_null_address(self) -> None:
        """Nothing between angle brackets is an address that is none."""
        self.assertIn(Address("", is_null=True), parse("x <>"))
        self.assertNotIn(Address("", is_null=True), parse("x <(c)>"))


class WriteTests(SynchronousTestCase):
    """How a header is written anew."""

    def test_well_formed(self) -> None:
        """What is written as it should be stays, and what has been written stays, too."""
        for text in (
            "a@b",
            "<a@b>",
            '"Doe, John" <a@b.c>, mary@d.e (Mary)',
            "g: a@b, c <d@e>;, f@g",
            "<@r:a@b.c>",
            '"q s"@x',
            "",
        ):
            self.assertEqual(written(text), text)

    def test_ill_formed(self) -> None:
        """Blanks, quotes, comments and commas find their places."""
        for text, expected in {
            "John Q. Public <a@b>": "John Q.Public <a@b>",
            "<a@b> (c)": "<a@b>(c)",
            "(c2) a@b": "a@b (c2)",
            "a@b c@d": "a@b, c@d",
            "u:;": "u: ;",
            "u: (c) ;": "u: (c);",
            "a , b;": "a, b;",
            "a; foo <b>": "a;foo <b>",
            "a <c> b: x;": "a <c>b: x;",
            "<: ,a;": "<: , a;",
            '"a"@b': "a@b",
            "a\\ b@c": '"a b"@c',
            "foo\\ bar <c>": '"foo bar" <c>',
            'x"y"z <d>': 'x "y" z <d>',
            "a>": "a>",
            "<<a>>": '< <"a>">',
            'a@"b c"': "a@b c",
            "a@[b\\]c]": "a@[b] c]",
            ",,, a,,": ", , , a, , ",
            '""': '""',
            "x <>": "x <>",
            "(c(d)e) |": "| (c(d)e)",
            ">": ">",
            "<@r,@r2:a@b>": "<@r, @r2:a@b>",
        }.items():
            self.assertEqual(written(text), expected, text)

    def test_long_comments(self) -> None:
        """Of an element with more than 250 octets beside its last address only that address is left."""
        for text, left in {
            f"a@b ({'c' * 247})": None,
            f"a@b ({'c' * 248})": "<a@b>",
            f"{'f' * 247} <a@b>": None,
            f"{'f' * 248} <a@b>": "<a@b>",
            f"{'ä' * 124} <a@b>": "<a@b>",
            f"{'f' * 248}: a@b;": "<a@b>",
            f"<x> {'f' * 250} <a@b>": "<a@b>",
            f"{'f' * 248} <>": "<>",
            f"({'c' * 300})": None,
            f"{'f' * 300}: ;": None,
        }.items():
            made = write(parse(text))
            self.assertEqual(made.text, text if left is None else left)
            self.assertEqual(len(made.stripped), 0 if left is None else 1)

    def test_lines(self) -> None:
        """Each comma is followed by a line end, for `generic` to fold."""
        self.assertEqual(write(parse("a, b, c")).text, "a,\nb,\nc")

    @given(st.text('ab<>@,;:."()[]\\ \t\x01ä', max_size=30))
    def test_any_text(self, text: str) -> None:
        """Writing never fails, and what has been written is read as the same addresses, as far as they are well-formed."""
        nodes = parse(text)
        again = write(nodes).text
        if all(isinstance(node, Address) or node.kind is Kind.COMMENT or node.text == "," for node in nodes):
            plain = [node.text for node in nodes if isinstance(node, Address)]
            if all(part.isalnum() for address in plain for part in address.split("@")):
                self.assertEqual(addresses(again), [quoted(address) for address in plain])
