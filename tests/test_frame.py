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

SECTION = r"(?:[0-9]+|[A-F](?![A-Za-z]))(?:\.[0-9]+)*"

CITATION = re.compile(
    rf"\bRFC ?(\d{{3,5}})\b(?:,? (?:sections?|appendix) ({SECTION}(?:(?:, and |, | and | to | or ){SECTION})*)"
    r"| (\d+(?:\.\d+)+))"
)
"""``RFC 5321 section 4.2.1``, ``RFC 5321 sections 4.2 and 4.5.3``, ``RFC 5321 4.2.1``."""


def sections() -> dict[str, set[str]]:
    """The sections that RFCs have, by number of the RFC."""
    known: dict[str, set[str]] = {}
    for line in (ROOT / "docs/reference/rfc-sections.txt").read_text("utf-8").splitlines():
        number, colon, listed = line.partition(":")
        if number.isdigit() and colon:
            known[number] = {section for words in listed.split() for section in counted(*words.partition("-")[::2])}
    return known


def counted(first: str, last: str) -> list[str]:
    """All sections from the first one to the last one, which differ in their last part."""
    if not last:
        return [first]
    outer, dot, begin = first.rpartition(".")
    end = last.rpartition(".")[2]
    if begin.isdigit():
        return [f"{outer}{dot}{number}" for number in range(int(begin), int(end) + 1)]
    return [chr(letter) for letter in range(ord(begin), ord(end) + 1)]


def cited_sections(text: str) -> list[tuple[str, str]]:
    """The RFC and the section of each citation in a program, comments and line breaks aside."""
    flat = re.sub(r"\s*\n\s*(?:# ?)?", " ", text)
    return [
        (match[1], section)
        for match in CITATION.finditer(flat)
        for section in re.findall(SECTION, match[2] or match[3])
    ]


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

    def test_rooms_are_on_the_map(self) -> None:
        """docs/explanation/architecture.md says what each package and each module beside them holds."""
        page = (ROOT / "docs/explanation/architecture.md").read_text("utf-8")
        mapped = {
            name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
        }
        packages = {f"{path.parent.name}/" for path in (ROOT / "twisted_mta").glob("*/__init__.py")}
        modules = {path.name for path in (ROOT / "twisted_mta").glob("*.py")} - {"__init__.py"}
        self.assertEqual(mapped, packages | modules)

    def test_cited_sections_exist(self) -> None:
        """Every section of an RFC that code cites is one that the RFC has (docs/reference/rfc-sections.txt)."""
        known = sections()
        wrong = [
            f"{path.relative_to(ROOT)}: RFC {number} section {section}"
            for folder in CODE
            for path in (ROOT / folder).rglob("*.py")
            for number, section in cited_sections(path.read_text("utf-8"))
            if section not in known.get(number, ())
        ]
        self.assertEqual(wrong, [], "look them up, and add them to docs/reference/rfc-sections.txt if they exist")

    def test_sections_are_recognized(self) -> None:
        """The forms of citations; a number that is none is left alone."""
        rfc = "RFC"
        for text, expected in {
            "5321 section 4.2.1)": ["4.2.1"],
            "5321 sections 4.2, 4.5.3 and\n    # 5.1; postconf(5)": ["4.2", "4.5.3", "5.1"],
            "5321 4.1.1.4.": ["4.1.1.4"],
            "5321 appendix D.1": ["D.1"],
            "5321 2 of them": [],
            "5321 section 4 and RFC 1": ["4"],
            "5321, section 4": ["4"],
        }.items():
            self.assertEqual(cited_sections(f"{rfc} {text}"), [("5321", section) for section in expected], text)
        self.assertEqual(counted("4.9", "4.11"), ["4.9", "4.10", "4.11"])
        self.assertEqual(counted("A", "C"), ["A", "B", "C"])
        self.assertEqual(counted("D.1", ""), ["D.1"])
        self.assertNotIn("4.6", sections()["5321"])

    def test_sections_belong_to_listed_rfcs(self) -> None:
        """What has sections has a row in docs/reference/rfcs.md as soon as it is cited; the list is sorted, each RFC once."""
        lines = (ROOT / "docs/reference/rfc-sections.txt").read_text("utf-8").splitlines()
        numbers = [int(line.partition(":")[0]) for line in lines if line[:1].isdigit()]
        self.assertEqual(numbers, sorted(set(numbers)))

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
