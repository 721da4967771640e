"""Configuration files of OpenSSL."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import write
from twisted_mta.tls.openssl_file import OpensslFile, OpensslFileError


class FileTests(SynchronousTestCase):
    """`OpensslFile`."""

    def setUp(self) -> None:
        """A place for files."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def sections(self, text: str) -> dict[str, dict[str, str]]:
        """What a file holds."""
        return OpensslFile.read(Path(write(self.directory, "openssl.cnf", text.encode()))).sections

    def mistake(self, text: str) -> tuple[str, str]:
        """What is wrong with a file, and where."""
        try:
            self.sections(text)
        except OpensslFileError as error:
            return error.errors[0][2], error.errors[0][3]
        return self.fail("nothing is wrong")

    def test_sections(self) -> None:
        """Names and values by section; what comes before the first section is in the one called default."""
        text = "# hello\n a = 1 # one\n\n[ one ]\nb=two words\nother::c = 3\n[default]\nd = \n[ one ]\ne = 'x # y'\n"
        self.assertEqual(
            self.sections(text),
            {"default": {"a": "1", "d": ""}, "one": {"b": "two words", "e": "x # y"}, "other": {"c": "3"}},
        )

    def test_lines(self) -> None:
        """A line goes on after a backslash at its end; a backslash elsewhere takes the meaning from a character."""
        self.assertEqual(self.sections("a = b\\\nc\nd = e\\#f\\$g\\n\n")["default"], {"a": "bc", "d": "e#f$g\n"})

    def test_variables(self) -> None:
        """Variables of the same section, of the first one, of any other, or of the environment."""
        text = "x = 1\n[one]\ny = 2\nz = $y$x\n[two]\ny = ${one::y}/$(x)/$one::z\n"
        self.assertEqual(self.sections(text)["two"], {"y": "2/1/21"})
        path = write(self.directory, "environment.cnf", b"a = $ENV::HERE\n")
        made = OpensslFile({"HERE": "there"})
        made._include(Path(path), depth=0)
        self.assertEqual(made.sections["default"], {"a": "there"})

    def test_includes(self) -> None:
        """Other files, or all in a directory, are read in their place; those that are missing do not matter."""
        more = os.path.join(self.directory, "more.d")
        os.mkdir(more)
        write(more, "1.cnf", b"[one]\na = 1\n")
        write(more, "2.conf", b"b = 2\n")
        write(more, "3.txt", b"c = 3\n")
        write(self.directory, "single", b".include single\nd = 4\n")
        text = ".pragma = dollarid:on\n.include more.d\n.include = missing\n[two]\n.include single\ne = 5\n"
        self.assertEqual(self.sections(text), {"default": {"b": "2", "d": "4"}, "one": {"a": "1"}, "two": {"e": "5"}})

    def test_mistakes(self) -> None:
        """Each mistake in OpenSSL's words, with its line."""
        self.assertEqual(self.mistake("a = 1\nhello\n"), ("missing equal sign", "HERE-->line 2"))
        self.assertEqual(self.mistake("[one\n"), ("missing close square bracket", "line 1"))
        self.assertEqual(self.mistake("a = $nothing\n"), ("variable has no value", "line 1"))
        bomb = "a = " + "x" * 1000 + "\n" + "a = $a$a\n" * 8
        self.assertEqual(self.mistake(bomb)[0], "variable expansion too long")

    def test_missing(self) -> None:
        """A file that is not there is named."""
        try:
            OpensslFile.read(Path("/does/not/exist"))
        except OpensslFileError as error:
            number, _, reason, more = error.errors[0]
            self.assertEqual((number, reason), (0x80000002, "No such file or directory"))
            self.assertEqual(more, "calling fopen(/does/not/exist, rb)")
        else:
            self.fail("it was read")

    @settings(deadline=None, max_examples=60)
    @given(st.text("a=[]$:{}()\\\"'#.include \n", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever is written gives sections or a mistake."""
        try:
            self.assertIn("default", self.sections(text))
        except OpensslFileError as error:
            self.assertTrue(error.errors)
