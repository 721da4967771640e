"""Expansion of references; each expectation is what a running smtp(8) makes of the same text."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.expand import DEEPEST, expand

VARIABLES = {
    "myhostname": "a.example.com",
    "mydomain": "example.com",
    "blank": "",
    "to_blank": "$blank",
    "level": "3.6",
}

VALUES = {
    "no reference": "no reference",
    "$myhostname": "a.example.com",
    "$myhostname.bar": "a.example.com.bar",
    "${myhostname}": "a.example.com",
    "$(myhostname)": "a.example.com",
    "${ myhostname }": "a.example.com",
    "$( myhostname )": "a.example.com",
    "${ }": "",
    "$undefined": "",
    "$a_b9c.x": ".x",
    "$myhöst": "öst",
    "${myhostname}x}": "a.example.comx}",
    # the dollar sign itself
    "$$": "$",
    "$$myhostname": "$myhostname",
    "$$$myhostname": "$a.example.com",
    # choices
    "${myhostname?x}": "x",
    "${myhostname?{x}}": "x",
    "${undefined?x}": "",
    "${blank?x}": "",
    "${undefined:x}": "x",
    "${blank:{x}}": "x",
    "${myhostname:x}": "",
    "${undefined?{a}:{b}}": "b",
    "${myhostname?{a}:{b}}": "a",
    "${myhostname?{a}:b}": "a",
    "${undefined?t1:t2}": "",
    "${myhostname?t1:t2}": "t1:t2",
    "$(myhostname?{x}:{y})": "x",
    "$(undefined:a(b)c)": "a(b)c",
    "$(undefined:a{b)c": "a{bc",
    "${undefined:a{b}c}": "a{b}c",
    "${?x}": "",
    "${:x}": "x",
    "${undefined?}": "",
    "${myhostname?{x}:}": "x",
    # a name that stands for an empty one is not empty itself
    "${to_blank?x}": "x",
    # blanks
    "a${undefined ? {a} : {b} }c": "abc",
    "a${undefined ?{a} : b }c": "a b c",
    "x${myhostname?{ a }:{ b }}y": "x a y",
    "x${myhostname ? a }y": "x a y",
    # only the text that is taken is looked at
    "${undefined?$}": "",
    "${undefined ?{$}:{b}}": "b",
    # comparisons
    "${{a} == {a}}": "true",
    "${{a} == {b}}": "",
    "${ {1} == {1} }": "true",
    "$({1}=={1})": "true",
    "${{1} == {01}}": "true",
    "${{1} < {10}}": "true",
    "${{10} < {9}}": "",
    "${{1a} < {9}}": "true",
    "${{-1}<{1}}": "true",
    "${{} == {}}": "true",
    "${{} < {1}}": "true",
    "${{ a } == {a} ? { t } : { f }}": " f ",
    "${{1}=={1}?yes}": "yes",
    "${{1}=={1}?yes:no}": "yes:no",
    "${{1}=={1}?{yes}:no}": "yes",
    "${{1}=={2}:no}": "no",
    "${{1} != {1}:x}": "x",
    "${{é} == {é}}": "true",
    "${{$myhostname} == {a.example.com}?{$mydomain}}": "example.com",
    "${{9223372036854775807}=={1}}": "",
    "${{99999999999999999999}=={a}}": "",
    # levels
    "${{3.10} >=level {3.6}}": "true",
    "${{3.10} >= {3.6}}": "",
    "${{1} ==level {1.0.0}}": "true",
    "${{1} <level{2}}": "true",
    "${{$level} <level {3.6} ? {md5} : {sha256}}": "sha256",
    "${{ 1} <level {2}}": "true",
    "${{1.+1} <level {2}}": "true",
    "${{3.-0} <level {2}}": "",
    "${{8796093022207} <level {2}}": "",
}

CAUSES = {
    "${myhostname": 'truncated macro reference: "${myhostname"',
    "abc ${x": 'truncated macro reference: "abc ${x"',
    "${{a} == {b}": 'truncated macro reference: "${{a} == {b}"',
    "$": 'empty macro name: "$"',
    "$-x": 'empty macro name: "$-x"',
    "abc$": 'empty macro name: "abc$"',
    "${}": 'empty macro name: "${}"',
    "$()x": 'empty macro name: "$()x"',
    "pre ${x:$} post": 'empty macro name: "$"',
    "${my host}": 'attribute name syntax error at: "...my>>> host"',
    "${ my host}": 'attribute name syntax error at: "... my>>> host"',
    "${my-host}": 'attribute name syntax error at: "...my>>>-host"',
    "${myhostname{x}}": 'attribute name syntax error at: "...myhostname>>>{x}"',
    "${(x)}": 'attribute name syntax error at: "...>>>(x)"',
    "${a 0123456789012345678901234}": 'attribute name syntax error at: "...a>>> 0123456789012345678"',
    "${foo:{a}b}": 'unexpected input at: "...a}>>>b"',
    "${foo:{b}{c}}": 'unexpected input at: "...b}>>>{c}"',
    "${myhostname?{a}:{b} x}": 'unexpected input at: "...b}>>>x"',
    "${foo ? {a}b}": '":" expected at: "...a}>>>b"',
    "${foo?{x}éééééééééééé}": '":" expected at: "...x}>>>éééééééééé"',
    "${foo?{x}{y}}": '":" expected at: "...x}>>>{y}"',
    "${{1}=={2} ? {a} x}": '":" expected at: "...a}>>>x"',
    "${{1}=={2} x}": '"?" or ":" expected at: "...}>>>x"',
    "${{a} foo {b}}": '"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>foo {b}"',
    "${{1} <> {2}}": '"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...1}>>><> {2}"',
    "${{a}}": '"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>"',
    "${{3.6} <levels {3.7}}": 'bad operator suffix at: "...<>>>levels"',
    "${{3.10} >= level {3.6}}": '"{expression}" expected at: "...{3.10} >=>>> level {3.6}"',
    "${{1} ==level}": '"{expression}" expected at: "...{1} ==>>>"',
    "$(foo:{a)": 'unbalanced {} in attribute expression: "{a"',
    "$( {a) }": 'unbalanced {} in attribute expression: "{a"',
    "$({a} == {b} ? {c)": 'unbalanced {} in attribute expression: "{c"',
    "${{x} <level {2}}": 'malformed compatibility level syntax: "x"',
    "${{1.2.3.4} <level {2}}": 'malformed compatibility level syntax: "1.2.3.4"',
    "${{1 } <level {2}}": 'malformed compatibility level syntax: "1 "',
}


class ExpandTests(SynchronousTestCase):
    """The function `expand`."""

    def test_values(self) -> None:
        """Every form of a reference gives what Postfix gives."""
        for text, expected in VALUES.items():
            self.assertEqual(expand(text, VARIABLES.get), expected, text)

    def test_errors(self) -> None:
        """Malformed references fail in Postfix's words: what is wrong as a cause, one and the same text."""
        for text, cause in CAUSES.items():
            error = self.assertRaises(ConfigError, expand, text, VARIABLES.get)
            self.assertEqual(error.cause, cause)
            self.assertEqual(error.text, "dictionary mail_dict: macro processing error")

    def test_huge_number(self) -> None:
        """A number that no C long can hold is an error of its own."""
        for number in ("9223372036854775808", "99999999999999999999", "9" * 5000):
            error = self.assertRaises(ConfigError, expand, f"${{{{{number}}}=={{1}}}}", VARIABLES.get)
            self.assertEqual((error.text, error.cause), (f"mac_exp_eval: bad conversion: {number}", ""))

    def test_recursion(self) -> None:
        """Values are expanded in turn; names that lead to each other are found out."""
        self.assertEqual(expand("$a", {"a": "<$b>", "b": "x${c:y}"}.get), "<xy>")
        error = self.assertRaises(ConfigError, expand, "$aa", {"aa": "$bb", "bb": "$aa"}.get)
        self.assertEqual(error.cause, 'unreasonable macro call nesting: "bb"')

    def test_depth(self) -> None:
        """A hundred names in a row are allowed, one more is not."""
        chain = {f"x{at}": f"$x{at + 1}" for at in range(1, DEEPEST)} | {"x100": "end"}
        self.assertEqual(expand("$x1", chain.get), "end")
        error = self.assertRaises(ConfigError, expand, "$x0", {**chain, "x0": "$x1"}.get)
        self.assertEqual(error.cause, 'unreasonable macro call nesting: "end"')

    def test_depth_of_text(self) -> None:
        """The same limit holds for references inside one another."""
        self.assertEqual(expand("${foo:" * 100 + "z" + "}" * 100, VARIABLES.get), "z")
        error = self.assertRaises(ConfigError, expand, "${foo:{" * 101 + "z" + "}}" * 101, VARIABLES.get)
        self.assertEqual(error.cause, 'unreasonable macro call nesting: "z"')

    def test_explosion(self) -> None:
        """Names that double each other end in an error, not in an endless computation."""
        doubling = {f"x{at}": f"$x{at + 1}$x{at + 1}" for at in range(90)}
        error = self.assertRaises(ConfigError, expand, "$x0", doubling.get)
        self.assertIn("too many macro calls", error.cause)

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.sampled_from(
                [
                    "$",
                    "${",
                    "$(",
                    "}",
                    ")",
                    "{",
                    "}",
                    "?",
                    ":",
                    "a",
                    "b",
                    " ",
                    "==",
                    "<level",
                    "1",
                    "3.6",
                    "$$",
                    "${a:",
                    "{$b}",
                ]
            ),
            max_size=14,
        ).map("".join),
    )
    def test_any_text(self, text: str) -> None:
        """Any text gives a text, or a ConfigError."""
        variables = {"a": text, "b": "x"}
        try:
            expanded = expand(text, variables.get)
        except ConfigError as error:
            self.assertTrue(error.text)
        else:
            self.assertIsInstance(expanded, str)

    @settings(deadline=None, max_examples=100)
    @given(st.text())
    def test_literal(self, text: str) -> None:
        """A text whose dollar signs are doubled comes out as it was."""
        self.assertEqual(expand(text.replace("$", "$$"), VARIABLES.get), text)
