"""Tables against Postfix's own: the same random keys are asked of ``postmap -q`` and of ours, and nothing may differ.

TWISTED_MTA_SEED repeats a run, TWISTED_MTA_LONG makes it longer.
Sources: postmap(1); DATABASE_README(5); the manual page of each type.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.chance import LONG, SEED
from tests.tables.opened import OpenTables
from twisted_mta.interfaces import TableError
from twisted_mta.tables.keys import Fold, fold_ascii, fold_unicode
from twisted_mta.tables.opening import ADDRESSES, FOLDED, TableFlags

ROUNDS = 6 * LONG
"""Random tables for each type."""
KEYS = 150
"""Random keys for each table."""

ERROR = "ERROR"
"""Stands for a lookup that fails."""

Maker = Callable[[random.Random], str]

COMPARED = {
    **dict.fromkeys(("btree", "cdb", "hash", "lmdb", "texthash"), "test_postmap.TextTests"),
    **dict.fromkeys(("inline", "pipemap", "randmap", "static", "unionmap"), "test_postmap.NameTests"),
    **dict.fromkeys(("environ", "fail", "internal", "nis", "unix"), "test_postmap.NameTests"),
    **dict.fromkeys(("pcre", "regexp"), "test_postmap.PatternTests"),
    **dict.fromkeys(("socketmap", "tcp"), "test_tables.NetworkTests"),
    "cidr": "test_postmap.CidrTests",
    "ldap": "test_tables.SlapdTests",
    "memcache": "test_tables.MemcachedTests",
    "mysql": "test_tables.MariadbTests",
    "pgsql": "test_tables.PostgresTests",
    "proxy": "test_tables.ProxyTests",
    "sqlite": "test_tables.SqliteTests",
}
"""Where each type is compared with Postfix's own."""


def installed_types() -> frozenset[str]:
    """The types that the Postfix of this machine has; none where there is no Postfix."""
    if not shutil.which("postmap") or not shutil.which("postconf"):
        return frozenset()
    return frozenset(subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=False).stdout.split())


class PostmapCase(SynchronousTestCase):
    """A directory with a configuration for postmap(1)."""

    def setUp(self) -> None:
        """Write main.cf."""
        if not installed_types():
            raise SkipTest("needs Postfix (Debian package postfix)")
        self.directory = Path(mkdtemp(prefix="postmap"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.random = random.Random(SEED)
        for name, utf8 in (("utf8", "yes"), ("bytes", "no")):
            (self.directory / name).mkdir()
            main_cf = f"compatibility_level = 3.6\nsmtputf8_enable = {utf8}\nmeta_directory = /etc/postfix\n"
            (self.directory / name / "main.cf").write_text(main_cf)

    def needs(self, kind: str) -> None:
        """Skip unless the type is installed, here and there."""
        if kind not in installed_types():
            raise SkipTest(f"needs Postfix with {kind} tables")
        tables = OpenTables(self.directory)
        try:
            tables.find(f"{kind}:none", "x")
        except TableError as error:
            if error.problem.startswith("unsupported dictionary type"):
                raise SkipTest(error.problem) from None

    def run_postmap(self, *arguments: str, lines: bytes = b"", utf8: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run postmap(1)."""
        config = self.directory / ("utf8" if utf8 else "bytes")
        command = ["postmap", "-c", str(config), *arguments]
        return subprocess.run(command, input=lines, capture_output=True, check=False, cwd=self.directory)

    def theirs(self, spec: str, keys: Sequence[str], *, utf8: bool = True) -> dict[str, str]:
        """What postmap(1) finds; all is ERROR if the table cannot be used."""
        lines = b"".join(os.fsencode(key) + b"\n" for key in keys)
        ran = self.run_postmap("-q", "-", spec, lines=lines, utf8=utf8)
        if b"fatal:" in ran.stderr:
            return dict.fromkeys(keys, ERROR)
        found = (os.fsdecode(line).partition("\t") for line in ran.stdout.split(b"\n")[:-1])
        return {key: value for key, _, value in found}

    def ours(
        self, spec: str, keys: Iterable[str], *, utf8: bool = True, flags: TableFlags = ADDRESSES
    ) -> dict[str, str]:
        """What our table finds."""
        tables = OpenTables(self.directory, smtputf8=utf8)
        self.addCleanup(tables.tables.close)
        found = {}
        for key in keys:
            try:
                value = tables.find(spec, key, flags)
            except TableError:
                value = ERROR
            if value is not None:
                found[key] = value
        tables.tables.close()
        return found

    def compare(self, spec: str, keys: Iterable[str], *, utf8: bool = True) -> int:
        """Ask both; how many keys were found."""
        # Keys are lines of input, and stand before a tab in what is printed; there can be no empty one.
        asked = sorted({key for key in keys if key and "\n" not in key and "\t" not in key})
        ours, theirs = self.ours(spec, asked, utf8=utf8), self.theirs(spec, asked, utf8=utf8)
        self.assertEqual(ours, theirs, f"{spec} (TWISTED_MTA_SEED={SEED})")
        return len(ours)

    def compare_names(self, asked: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Ask both of tables that may not exist, many at a time: postmap(1) takes a second to say that."""
        cases = list(asked)
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda case: self.theirs(*case), cases))
        for (spec, keys), theirs in zip(cases, answers, strict=True):
            self.assertEqual(self.ours(spec, keys), theirs, f"{spec} (TWISTED_MTA_SEED={SEED})")

    def some(self, make: Maker, count: int) -> list[str]:
        """Random texts."""
        return [make(self.random) for _ in range(count)]


def word(chance: random.Random) -> str:
    """A short word of few letters, so that two are often the same."""
    letters = "abAB12.@+-_ßéÉöÖ"
    return "".join(chance.choice(letters) for _ in range(chance.randint(1, 4)))


def bytes_word(chance: random.Random) -> str:
    """A word that may have any byte, encoded or not."""
    return os.fsdecode(bytes(chance.choice(b"abAB\xc3\xa9\x89\xff\x80\xe9") for _ in range(chance.randint(1, 4))))


def record_text(chance: random.Random) -> str:
    """A line of a text table, most often a good one."""
    parts = [
        "a",
        "B",
        "b",
        "é",
        "É",
        '"',
        "\\",
        " ",
        "\t",
        "x y",
        "#",
        ":",
        '"q r"',
        "\\ ",
        "\\\\",
        "@",
        "=",
        "\v",
        "\xa0",
    ]
    return "".join(chance.choice(parts) for _ in range(chance.randint(1, 7)))


class TextTests(PostmapCase):
    """Tables made from text: keys, values, and the rules of the text itself."""

    def write_table(self, text: str) -> None:
        """Write the text of a table, and let it look old: postmap(1) would wait until a new one is complete."""
        path = self.directory / "table"
        path.write_bytes(os.fsencode(text))
        os.utime(path, (1, 1))

    def random_text(self, make_key: Maker, fold: Fold) -> tuple[str, list[str]]:
        """A text table in which no key stands twice, and keys to ask: those in it, with other case, and others."""
        keys = list({fold(key): key for key in self.some(make_key, 60)}.values())
        lines = [
            f"{key}{self.random.choice([' ', chr(9), '  '])}{word(self.random)} {self.random.random()}" for key in keys
        ]
        swapped = [key.swapcase() for key in keys]
        return "\n".join(lines) + "\n", keys + swapped + self.some(make_key, KEYS)

    def check(self, kind: str, *, utf8: bool) -> None:
        """Compare random tables."""
        self.needs(kind)
        total = 0
        for _ in range(ROUNDS):
            text, keys = self.random_text(word if utf8 else bytes_word, fold_unicode if utf8 else fold_ascii)
            self.write_table(text)
            if kind != "texthash":
                self.run_postmap(f"{kind}:table", utf8=utf8)
            total += self.compare(f"{kind}:{self.directory}/table", keys, utf8=utf8)
        self.assertGreater(total, ROUNDS)

    def has_duplicates(self) -> bool:
        """Whether a key stands twice: then daemons refuse the table, and postmap(1) only warns."""
        return b"duplicate entry" in self.run_postmap("-q", "x", "texthash:table").stderr

    def test_hash(self) -> None:
        """hash:, in UTF-8."""
        self.check("hash", utf8=True)

    def test_hash_bytes(self) -> None:
        """hash: without UTF-8: keys of any bytes, folded in ASCII alone."""
        self.check("hash", utf8=False)

    def test_btree(self) -> None:
        """btree:, in UTF-8."""
        self.check("btree", utf8=True)

    def test_lmdb(self) -> None:
        """lmdb:, in UTF-8."""
        self.check("lmdb", utf8=True)

    def test_lmdb_bytes(self) -> None:
        """lmdb: without UTF-8."""
        self.check("lmdb", utf8=False)

    def test_cdb(self) -> None:
        """cdb:, in UTF-8."""
        self.check("cdb", utf8=True)

    def test_cdb_bytes(self) -> None:
        """cdb: without UTF-8."""
        self.check("cdb", utf8=False)

    def test_texthash(self) -> None:
        """texthash:, in UTF-8."""
        self.check("texthash", utf8=True)

    def test_texthash_bytes(self) -> None:
        """texthash: without UTF-8."""
        self.check("texthash", utf8=False)

    def test_text_syntax(self) -> None:
        """Lines of any form: comments, continuations, quotes, backslashes, no value."""
        self.needs("texthash")
        usable = 0
        for _ in range(ROUNDS * 10):
            lines = self.some(record_text, 4)
            self.write_table("\n".join(lines))
            if not self.has_duplicates():
                usable += 1
                keys = [
                    part
                    for line in lines
                    for cut in range(1, len(line) + 1)
                    for part in (line[:cut], line[:cut].lower())
                ]
                self.compare(f"texthash:{self.directory}/table", keys)
        self.assertGreater(usable, ROUNDS)

    def test_large(self) -> None:
        """Tables of many pages: every key is found in each kind."""
        keys = [f"user{number}@example.com" for number in range(20_000)]
        (self.directory / "table").write_text("".join(f"{key} to-{key}\n" for key in keys))
        for kind in ("hash", "btree", "lmdb", "cdb"):
            if kind in installed_types():
                self.needs(kind)
                self.run_postmap(f"{kind}:table")
                asked = [*self.random.sample(keys, 500), *(f"none{number}" for number in range(500))]
                self.assertEqual(self.compare(f"{kind}:{self.directory}/table", asked), 500)


class NameTests(PostmapCase):
    """Tables that are their own name."""

    def item(self) -> str:
        """An item of a list in braces, most often a good one."""
        parts = ["a", "B", "=", " ", '"', "\\", "é", "{x}", "{ y = z }", "a=1", "b = 2", "{a b=c}", '{"k k"=v}', ","]
        return "".join(self.random.choice(parts) for _ in range(self.random.randint(1, 5)))

    def test_inline(self) -> None:
        """inline: of any form."""
        self.needs("inline")
        keys = ["a", "A", "b", "B", "é", "É", "aa", '"k k"', "y", "a b", "x", "k", "\\a", "ab"]
        names = (
            "{" + ", ".join(self.item() for _ in range(self.random.randint(1, 3))) + "}" for _ in range(ROUNDS * 30)
        )
        self.compare_names((f"inline:{name}", keys) for name in names)

    def test_static(self) -> None:
        """static: of any form."""
        self.needs("static")
        self.compare_names((f"static:{self.item()}", ["a", "B"]) for _ in range(ROUNDS * 10))

    def test_randmap(self) -> None:
        """randmap: with one value."""
        self.needs("randmap")
        values = (self.item().replace(",", "").replace(" ", "") for _ in range(ROUNDS * 10))
        self.compare_names((f"randmap:{{{value}}}", ["a", "B"]) for value in values)

    def test_combined(self) -> None:
        """unionmap: and pipemap: of tables that find, do not find, have empty values, and fail."""
        members = [
            "inline:{a=b, b=a}",
            "inline:{a=a, {b=x y}}",
            "inline:{b=, a=c}",
            "internal:x",
            "static:b",
            "regexp:{{/^(.)/ $1b}}",
            "randmap:{a}",
            "fail:x",
            "unionmap:{static:a, inline:{b=q}}",
            "pipemap:{inline:{a=b, b=c}, inline:{b=2}}",
        ]
        for kind in ("unionmap", "pipemap"):
            self.needs(kind)
            chosen = (", ".join(self.random.choices(members, k=self.random.randint(1, 3))) for _ in range(ROUNDS * 10))
            # One key at a time, as an error ends postmap(1).
            self.compare_names((f"{kind}:{{{names}}}", [self.random.choice("aBc")]) for names in chosen)

    def test_malformed(self) -> None:
        """Names that mean nothing."""
        kinds = ("inline", "static", "randmap", "unionmap", "pipemap", "regexp", "cidr", "unix")
        names = ("{}", "{ }", "{", "{{}", "{}}", "{{}}", "{a}", "{{a}}", "{a:b}", "{static:a}x")
        for kind in kinds:
            self.needs(kind)
        self.compare_names((f"{kind}:{name}", ["a"]) for kind in kinds for name in names)

    def test_system(self) -> None:
        """unix:, internal:, fail:, and nis: on a machine that is in no domain."""
        accounts = [line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()]
        groups = [line.partition(":")[0] for line in Path("/etc/group").read_text().splitlines()]
        for spec, keys in (
            ("unix:passwd.byname", [*accounts, "ROOT", "none", "0"]),
            ("unix:group.byname", [*groups, "ROOT", "none"]),
            ("unix:other", ["root"]),
            ("internal:x", ["root"]),
            ("fail:x", ["root"]),
            ("nis:passwd.byname", ["root", "ROOT", "none"]),
        ):
            self.needs(spec.partition(":")[0])
            self.compare(spec, keys)

    def test_environ(self) -> None:
        """environ: finds names in lower case alone where keys are folded."""
        self.needs("environ")
        for name in ("tables_test", "TABLES_TEST"):
            self.addCleanup(os.environ.pop, name)
            os.environ[name] = f"value of {name}"
        self.compare("environ:x", ["tables_test", "TABLES_TEST", "PATH", "none"])


class PatternTests(PostmapCase):
    """regexp: and pcre:."""

    atoms = (
        "a",
        "b",
        "A",
        ".",
        "[ab]",
        "[^a]",
        "(a)",
        "(b|ab)",
        "(a|ab)(c|bcd)",
        "a*",
        "(a*)",
        "b+",
        "(b?)",
        "^",
        "$",
        "é",
        "\\.",
        "(a)(b)?",
        "[[:alpha:]]",
        "a{2}",
        "(",
        "x**",
        "\\1",
    )
    results = ("X", "$1", "<${1}>", "$2$1", "$$1", "$(1)y", "$1y", "$0", "${1", "", "a  b", "$9", "é$1", "$")
    flags = ("", "", "", "i", "x", "m", "im", "ii", "z", "!", "s", "A", "U", "E")

    def rule(self) -> str:
        """A line of a pattern table, most often a good one."""
        chance = self.random
        pattern = "".join(chance.choice(self.atoms) for _ in range(chance.randint(1, 3)))
        sense = chance.choice(("", "", "", "!", "!!", "! "))
        delimiter = chance.choice(("/", "/", "/", "#", "|", "_")) if sense else "/"
        test = f"{sense}{delimiter}{pattern}{delimiter}{chance.choice(self.flags)}"
        kind = chance.randrange(10)
        if kind == 0:
            return f"if {test}"
        if kind == 1:
            return "endif" + chance.choice(("", "", " x"))
        if kind == 2:
            return f"{test}!/{chance.choice(self.atoms)}/ {chance.choice(self.results)}"
        return f"{test} {chance.choice(self.results)}"

    def check(self, kind: str) -> None:
        """Compare random tables."""
        self.needs(kind)
        found = 0
        subjects = [
            "".join(
                self.random.choice(("a", "b", "A", "c", "d", ".", "é", " ")) for _ in range(self.random.randint(1, 6))
            )
            for _ in range(KEYS)
        ]
        for _ in range(ROUNDS * 10):
            text = "\n".join(self.rule() for _ in range(self.random.randint(1, 5)))
            (self.directory / "rules").write_text(text)
            found += self.compare(f"{kind}:{self.directory}/rules", subjects)
        self.assertGreater(found, ROUNDS)

    def test_regexp(self) -> None:
        """regexp: with all that a rule may have."""
        self.check("regexp")

    def test_pcre(self) -> None:
        """pcre: with all that a rule may have."""
        self.check("pcre")

    def test_bytes(self) -> None:
        """Patterns are bytes: a dot is one, whatever the key's encoding."""
        for kind in ("regexp", "pcre"):
            self.needs(kind)
            (self.directory / "rules").write_text("/^.$/ one\n/^..$/ two\n/^...$/ three\n/É/ E\n/[é]/ bytes of e\n")
            self.compare(f"{kind}:{self.directory}/rules", ["é", "a", "aé", "É", "é€", "€"])
            keys = self.some(bytes_word, KEYS)
            self.compare(f"{kind}:{self.directory}/rules", keys, utf8=False)
            self.compare(f"{kind}:{self.directory}/rules", keys, utf8=True)

    def test_inline_rules(self) -> None:
        """Rules in the table's name."""
        for kind in ("regexp", "pcre"):
            self.needs(kind)
            for name in ("{{/a/ X}, {/b/ Y}}", "{ {/(a{2})/ <$1>} {!/b/ Z} }", "{{if /a/}, {/b/ X}, {endif}, {/./ Y}}"):
                self.compare(f"{kind}:{name}", ["a", "b", "aa", "ab", "c"])

    def test_hard_keys(self) -> None:
        """Keys that take a pattern millions of steps: the same is found, and told, also where the limit ends the match."""
        keys = [
            "a" * 40 + "b",
            "a" * 21 + "b",
            "b" + "a" * 30_000,
            "@foo" + "x" * 3000,
            "Subject: " + "viagra " * 2000,
        ]
        rules = r"""
            /^(a+)+$/ one
            if !/^b(a|aa)+c$/
            /\S+@foo/ two
            endif
            !/viagra.*cialis/ three
            /viagra(.*)/ $1
        """
        (self.directory / "rules").write_text("\n".join(line.strip() for line in rules.splitlines()))
        for kind in ("regexp", "pcre"):
            self.needs(kind)
            spec = f"{kind}:{self.directory}/rules"
            self.compare(spec, keys)
            for key in keys:
                tables = OpenTables(self.directory)
                tables.find(spec, key)
                theirs = os.fsdecode(self.run_postmap("-q", key, spec).stderr)
                self.assertEqual([f"postmap: {line}" for line in tables.lines], theirs.splitlines())
                tables.tables.close()


class CidrTests(PostmapCase):
    """cidr:."""

    def address(self) -> str:
        """An address of few, in several spellings."""
        chance = self.random
        if chance.randrange(3):
            return f"10.0.{chance.choice((0, 1, 128))}.{chance.choice((0, 1, 2, 255))}"
        low = chance.choice((0, 1, 2))
        return chance.choice((f"2001:db8::{low}", f"2001:DB8:0::0:{low}", f"2001:db8:1::{low}", f"::ffff:10.0.0.{low}"))

    def rule(self) -> str:
        """A line of a cidr table, most often a good one."""
        chance = self.random
        address = self.address()
        longest = 128 if ":" in address else 32
        length = chance.choice(("", "", f"/{chance.choice((longest, longest, longest - 8, 16, 8, 0, 129, 'x'))}"))
        pattern = chance.choice(
            (f"{address}{length}", f"[{address}]{length}", f"[{address}{length}]", "10.0.0.0/16", "::/0")
        )
        pattern = chance.choice(("", "", "", "!", "! ")) + pattern
        kind = chance.randrange(8)
        if kind == 0:
            return f"if {pattern}"
        if kind == 1:
            return "endif"
        return f"{pattern} {chance.choice(('X', 'Y', 'Z $1', '', 'a  b '))}{chance.randrange(100)}"

    def test_cidr(self) -> None:
        """Networks of both kinds, in all spellings, with conditions."""
        self.needs("cidr")
        found = 0
        for _ in range(ROUNDS * 10):
            (self.directory / "networks").write_text("\n".join(self.rule() for _ in range(self.random.randint(1, 12))))
            asked = [self.address() for _ in range(KEYS)] + ["10.0.0.01", "10.0.0", "[10.0.0.1]", "example.com"]
            found += self.compare(f"cidr:{self.directory}/networks", asked)
        self.assertGreater(found, ROUNDS)


class CompletenessTests(PostmapCase):
    """All types."""

    def test_every_type(self) -> None:
        """Each type that the Postfix of this machine has is compared somewhere."""
        self.assertEqual(installed_types() - COMPARED.keys(), set())
        for place in COMPARED.values():
            module, _, case = place.partition(".")
            self.assertTrue(hasattr(import_module(f"tests.interop.{module}"), case), place)


class OpenErrorTests(PostmapCase):
    """Tables that cannot be opened: the reason is Postfix's."""

    def test_reasons(self) -> None:
        """No file, an empty file, another kind of file."""
        for name, content in (("empty", b""), ("text", b"neither of these\n"), ("long", b"\1\2\3\4" * 5000)):
            for suffix in (".db", ".lmdb", ".cdb"):
                (self.directory / f"{name}{suffix}").write_bytes(content)
        databases = [kind for kind in ("hash", "btree", "lmdb", "cdb") if kind in installed_types()]
        texts = [kind for kind in ("texthash", "regexp", "pcre", "cidr") if kind in installed_types()]
        cases: list[tuple[str, str]] = [
            (kind, name) for kind in databases for name in ("none", "empty", "text", "long")
        ]
        cases += [(kind, "none") for kind in texts]
        for kind in (*databases, *texts):
            self.needs(kind)
        specs = [f"{kind}:{self.directory}/{name}" for kind, name in cases]
        with ThreadPoolExecutor(32) as pool:
            ran = list(pool.map(lambda spec: self.run_postmap("-q", "x", spec), specs))
        for (case_kind, name), spec, theirs in zip(cases, specs, ran, strict=True):
            ours = OpenTables(self.directory).problem(spec)
            # Of a file that is no cdb, Postfix says in which of its functions that was seen.
            reason = "fatal:" if case_kind == "cdb" and name != "none" else f"fatal: {ours}\n"
            self.assertIn(reason, os.fsdecode(theirs.stderr))


class RewriteTests(PostmapCase):
    """postmap(1) rewrites a file that is in use."""

    def test_seen(self) -> None:
        """The next lookup sees what was written, whether in place, by a transaction or as a new file after `changed`."""
        for kind in ("hash", "btree", "lmdb", "cdb"):
            if kind not in installed_types():
                continue
            self.needs(kind)
            spec = f"{kind}:{self.directory}/table"
            self.rewrite(kind, {"a": "old"})
            tables = OpenTables(self.directory)
            self.assertEqual(tables.find(spec, "a"), "old")
            self.rewrite(kind, {f"key{number}": "filler" for number in range(5000)} | {"a": "new"})
            if kind == "cdb":
                self.assertEqual(tables.find(spec, "a"), "old")
                self.assertEqual(tables.changed, spec)
                tables.tables.close()
            self.assertEqual(tables.find(spec, "a"), "new", kind)
            self.assertEqual(tables.find(spec, "key4999"), "filler", kind)
            self.assertEqual(tables.events, [])
            tables.tables.close()

    def test_growth(self) -> None:
        """An LMDB file may outgrow what was mapped."""
        self.needs("lmdb")
        self.rewrite("lmdb", {"a": "old"})
        tables = OpenTables(self.directory)
        spec = f"lmdb:{self.directory}/table"
        self.assertEqual(tables.find(spec, "a"), "old")
        self.rewrite("lmdb", {f"key{number}": "x" * 100 for number in range(200_000)})
        self.assertEqual(tables.find(spec, "key199999"), "x" * 100)
        self.assertEqual(tables.find(spec, "a"), None)
        tables.tables.close()

    def rewrite(self, kind: str, entries: dict[str, str]) -> None:
        """Make the table anew."""
        (self.directory / "table").write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
        ran = self.run_postmap(f"{kind}:table")
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))


class FoldingTests(PostmapCase):
    """Keys without regard to case."""

    def test_every_letter(self) -> None:
        """Every letter that has another case is found by it, as by Postfix."""
        self.needs("lmdb")
        letters = [
            chr(code) for code in range(0x80, 0x1F000) if chr(code).casefold() != chr(code) and chr(code).isprintable()
        ]
        (self.directory / "table").write_text("".join(f"{letter} {ord(letter)}\n" for letter in letters), "utf-8")
        self.run_postmap("-w", "lmdb:table")
        asked = [each for letter in letters for each in (letter, letter.upper(), letter.lower(), letter.casefold())]
        self.assertGreater(self.compare(f"lmdb:{self.directory}/table", asked), 1000)

    def test_ascii_only(self) -> None:
        """Reply filters fold ASCII alone, even with smtputf8_enable."""
        self.assertEqual(self.ours("inline:{äb=1}", ["ÄB", "äB"], flags=FOLDED), {"äB": "1"})
        self.assertEqual(self.ours("inline:{äb=1}", ["ÄB", "äB"]), {"ÄB": "1", "äB": "1"})
