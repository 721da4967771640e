"""The frame of the project: what the documentation promises of the code, and what the tools take for granted."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from docs.generate import pages

ROOT = Path(__file__).resolve().parents[1]

CODE = ("twisted_mta", "twisted", "tests", "benchmarks", "fuzz", "docs")
"""The folders whose Python files may cite an RFC."""

MANUAL_PAGE_RFCS = (
    "821 822 1651 1652 1870 2033 2034 2045 2046 2554 2782 2821 2920 3207 3461 3463 4954 5321 6531 6532 6533 6698 7672"
)
"""Those that smtp(8) and lmtp(8) name."""

NOT_UNIT_TESTS = {"tests.interop", "tests.scenarios"}
"""Test packages that have a tox environment of their own."""


class FrameTests(SynchronousTestCase):
    """Promises that no other tool checks."""

    def test_cited_rfcs_are_listed(self) -> None:
        """Every RFC that code cites has a row in docs/reference/rfcs.md, which says how far it is followed."""
        page = (ROOT / "docs/reference/rfcs.md").read_text("utf-8")
        listed = set(re.findall(r"^\| *(\d+) *\|", page, re.MULTILINE))
        citing: dict[str, str] = {}
        for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
            cited = re.findall(r"\bRFC ?(\d{3,5})\b", path.read_text("utf-8"))
            citing |= dict.fromkeys(cited, str(path.relative_to(ROOT)))
        self.assertEqual({number: path for number, path in citing.items() if number not in listed}, {})

    def test_rfcs_of_the_manual_page_are_listed(self) -> None:
        """Who comes from smtp(8) finds every RFC that is named there."""
        page = (ROOT / "docs/reference/rfcs.md").read_text("utf-8")
        listed = set(re.findall(r"^\| *(\d+) *\|", page, re.MULTILINE))
        self.assertEqual(set(MANUAL_PAGE_RFCS.split()) - listed, set())

    def test_rows_of_rfcs(self) -> None:
        """Each row of that page stands in its place by number, once, and says one of three words."""
        page = (ROOT / "docs/reference/rfcs.md").read_text("utf-8")
        rows = re.findall(r"^\| *(\d+) *\|[^|]*\| *([^|]*?) *\| *([^|]*?) *\|$", page, re.MULTILINE)
        numbers = [int(number) for number, _, _ in rows]
        self.assertEqual(numbers, sorted(set(numbers)))
        for number, state, remark in rows:
            self.assertIn(state, ("done", "partly", "not"), f"RFC {number}")
            self.assertTrue(remark, f"RFC {number} has no remark")

    def test_generated_pages_are_up_to_date(self) -> None:
        """The pages that are made from the code say what it says; python -m docs.generate makes them anew."""
        for path, text in pages().items():
            self.assertTrue(path.read_text("utf-8") == text, f"{path} is out of date: run python -m docs.generate")

    def test_plugin_folder_is_no_package(self) -> None:
        """A module named twisted or twisted.plugins of ours would hide Twisted itself."""
        self.assertFalse((ROOT / "twisted" / "__init__.py").exists())
        self.assertFalse((ROOT / "twisted" / "plugins" / "__init__.py").exists())

    def test_fragments_have_a_kind(self) -> None:
        """Each news fragment has a kind that the change log knows, and says something."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        kinds = {kind["directory"] for kind in project["tool"]["towncrier"]["type"]}
        for path in (ROOT / "newsfragments").iterdir():
            if path.name == ".gitignore":
                continue
            match = re.fullmatch(r"(\d+|\+[\w-]+)\.(\w+)(\.\d+)?\.rst", path.name)
            assert match is not None, f"newsfragments/{path.name} is not named ISSUE.KIND.rst or +WORD.KIND.rst"
            self.assertIn(match[2], kinds, path.name)
            self.assertTrue(path.read_text("utf-8").strip(), path.name)

    def test_unit_environment_is_complete(self) -> None:
        """The unit tests of tox.ini name every test package, so that none is forgotten."""
        tox = ConfigParser(interpolation=None)
        tox.read(ROOT / "tox.ini", "utf-8")
        named = set(re.findall(r"\btests\.\w+", tox["testenv:unit"]["commands"]))
        there = {
            f"tests.{path.relative_to(ROOT / 'tests').parts[0].removesuffix('.py')}"
            for path in (ROOT / "tests").rglob("test_*.py")
        }
        self.assertEqual(there - NOT_UNIT_TESTS, named)

    def test_every_folder_of_tests_is_a_package(self) -> None:
        """Trial finds tests in packages only: a folder without __init__.py would be passed over."""
        folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
        self.assertEqual([str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()], [])
