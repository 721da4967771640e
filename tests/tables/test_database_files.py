"""Tests of twisted_mta.tables.berkeley_db, lmdb and cdb, on files that the libraries themselves write."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from zope.interface.verify import verifyObject

from tests.tables.databases import WRITERS, write_cdb, write_database
from tests.tables.opened import TablesCase, as_nobody
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.cdb import cdb_hash
from twisted_mta.tables.locked import TrailingNull
from twisted_mta.tables.opening import EXACT

ENTRIES = [(f"user{number}@example.com", f"value {number}") for number in range(3000)]


class DatabaseTests(TablesCase):
    """What all types of files have in common; each test runs once for each."""

    kind: ClassVar[str] = "cdb"
    module: ClassVar[str] = "twisted_mta.tables.cdb"
    flips: ClassVar[tuple[int, ...]] = (1, 10, 300)
    """How many octets of a damaged file are other than they were."""

    def setUp(self) -> None:
        """Skip without the library."""
        super().setUp()
        self.needs(self.module)
        self.source = self.opened.directory / "table"
        self.file = Path(f"{self.source}{WRITERS[self.kind][1]}")
        self.spec = f"{self.kind}:table"

    def write(self, entries: list[tuple[str, str]]) -> None:
        """Write the file as postmap(1) would."""
        write_database(self.kind, self.source, entries)

    def write_exactly(self, *entries: tuple[bytes, bytes]) -> None:
        """Write the file with exactly these keys and values."""
        WRITERS[self.kind][0](self.file, entries)

    def test_all_are_found(self) -> None:
        """Every entry is found, in any case, and no other."""
        self.write(ENTRIES)
        self.assertTrue(verifyObject(ILookupTable, self.opened.tables.open(self.spec)))
        for key, value in ENTRIES[::7]:
            self.assertEqual(self.opened.find(self.spec, key.upper()), value)
            self.assertEqual(self.opened.find(self.spec, key + "x"), None)
        self.assertEqual(self.opened.find(self.spec, "USER1@example.com", EXACT), None)
        self.assertEqual(self.opened.events, [])

    def test_odd_keys(self) -> None:
        """Empty, long and strange keys are looked up like others."""
        self.write([("é", "e"), ("x" * 300, "long"), ("a b", "blank"), ("big", "v" * 20_000)])
        for key, value in (("É", "e"), ("X" * 300, "long"), ("a b", "blank"), ("big", "v" * 20_000)):
            self.assertEqual(self.opened.find(self.spec, key), value)
        for key in ("", "x" * 5000, "\0", "a\0b", "x" * 511, "x" * 512, "\udcff"):
            self.assertEqual(self.opened.find(self.spec, key), None)

    def test_null_at_the_end(self) -> None:
        """Keys may end with a null character or not; the first that is found decides for all."""
        self.write_exactly((b"a", b"1"), (b"b\0", b"2\0"), (b"c", b"3\0more"))
        self.assertEqual(self.opened.find(self.spec, "a"), "1")
        self.assertEqual(self.opened.find(self.spec, "b"), None)
        self.assertEqual(self.opened.find(self.spec, "c"), "3")
        self.opened.tables.close()
        self.assertEqual(self.opened.find(self.spec, "b"), "2")
        self.assertEqual(self.opened.find(self.spec, "a"), None)

    def test_no_file(self) -> None:
        """A file that is not there, and one that is something else."""
        self.assertEqual(self.opened.problem(self.spec), f"open database {self.file}: No such file or directory")
        for content in (b"", b"neither of these\n", b"\xff" * 5000):
            self.opened.tables.close()
            self.file.write_bytes(content)
            self.assertIn(f"open database {self.file}: ", self.opened.problem(self.spec))

    def test_older_than_source(self) -> None:
        """A source that is newer, and not just being edited, is told."""
        self.write(ENTRIES[:1])
        self.source.write_text("x y\n")
        os.utime(self.file, (1_000_000, 1_000_000))
        self.opened.find(self.spec, "a")
        self.assertEqual(self.opened.events, [])
        self.opened.tables.close()
        os.utime(self.source, (2_000_000, 2_000_000))
        self.opened.find(self.spec, "a")
        self.assertEqual(self.opened.lines, [f"warning: database {self.file} is older than source file {self.source}"])

    def test_opened_often(self) -> None:
        """Several sets of tables may have the same file open, and each other's end does not matter."""
        self.write(ENTRIES[:10])
        key, value = ENTRIES[5]
        self.assertEqual(self.opened.find(self.spec, key), value)
        self.assertEqual(self.opened.find(self.spec, key, EXACT), value)
        other = type(self.opened)(self.opened.directory)
        self.assertEqual(other.find(self.spec, key), value)
        self.opened.tables.close()
        self.assertEqual(other.find(self.spec, key), value)
        other.tables.close()

    def test_descriptors(self) -> None:
        """A closed table holds none."""
        self.write(ENTRIES[:10])
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            self.opened.find(self.spec, "a")
            self.opened.tables.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_damaged(self) -> None:
        """A damaged file gives values, nothing or errors, but never ends the process."""
        self.write(ENTRIES)
        self.file.replace(self.opened.directory / "good")
        ran = subprocess.run(
            [
                sys.executable,
                "-c",
                DAMAGE,
                self.kind,
                str(self.file),
                str(self.opened.directory / "good"),
                repr(self.flips),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        self.assertEqual((ran.returncode, ran.stdout), (0, "done\n"), ran.stderr)


DAMAGE = """
import random, sys
from pathlib import Path
from tests.tables.opened import OpenTables
from twisted_mta.interfaces import TableError
kind, path, good = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]).read_bytes()
chance = random.Random(1)
for _ in range(60):
    data = bytearray(good)
    for _ in range(chance.choice(eval(sys.argv[4]))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
    opened = OpenTables(path.parent)
    for number in range(0, 3000, 50):
        try:
            opened.find(f"{kind}:table", f"user{number}@example.com")
        except TableError:
            pass
    opened.tables.close()
print("done")
"""


class BerkeleyDBTests(DatabaseTests):
    """Type hash."""

    kind = "hash"
    module = "berkeleydb"
    other = "btree"

    def test_other_kind(self) -> None:
        """A hash is no btree, and the other way round."""
        write_database(self.other, self.source, ENTRIES[:10])
        self.assertEqual(self.opened.problem(self.spec), f"open database {self.file}: Invalid argument")

    def test_written_in_place(self) -> None:
        """The file is written to while it is open: the next lookup sees it, in all its parts."""
        self.write(ENTRIES)
        key, value = ENTRIES[1]
        self.assertEqual(self.opened.find(self.spec, key), value)
        inode = self.file.stat().st_ino
        self.rewrite([(f"new{number}", "x") for number in range(20_000)] + [(key, "other")])
        self.assertEqual(self.file.stat().st_ino, inode)
        self.assertEqual(self.opened.changed, self.spec)
        self.assertEqual(self.opened.find(self.spec, key), "other")
        self.assertEqual(self.opened.find(self.spec, "new19999"), "x")
        self.assertEqual(self.opened.find(self.spec, ENTRIES[2][0]), None)
        self.assertEqual(self.opened.changed, "")
        self.assertEqual(self.opened.events, [])

    def rewrite(self, entries: list[tuple[str, str]]) -> None:
        """Write other entries into the same file, with another time."""
        other = self.opened.directory / "other"
        write_database(self.kind, other, entries)
        self.file.write_bytes(Path(f"{other}.db").read_bytes())
        os.utime(self.file, (1, 1))

    def test_replaced(self) -> None:
        """Another file takes the name: the next lookup sees it."""
        self.write(ENTRIES[:10])
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        other = self.opened.directory / "other"
        write_database(self.kind, other, [("a", "b")])
        os.replace(f"{other}.db", self.file)
        self.assertEqual(self.opened.find(self.spec, "a"), "b")
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), None)

    def test_without_privileges(self) -> None:
        """A file that only root may read is still read, as it is now, when root's rights have been given up."""
        if os.geteuid():
            raise SkipTest("needs root, to give up its rights")
        self.opened.directory.chmod(0o755)
        self.write(ENTRIES)
        self.file.chmod(0o600)
        key, value = ENTRIES[1]
        with as_nobody():
            self.assertRaises(PermissionError, self.file.read_bytes)
        self.assertEqual(self.opened.find(self.spec, key), value)
        before = len(os.listdir("/proc/self/fd"))
        for at, entries in enumerate(([("a", "b")], [*ENTRIES[:5000], ("a", "c")])):
            self.rewrite(entries)
            os.utime(self.file, (at, at))
            with as_nobody():
                self.assertEqual(self.opened.changed, self.spec)
                self.assertEqual(self.opened.find(self.spec, "a"), entries[-1][1])
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1)
        other = self.opened.write("other.db", b"something else")
        other.chmod(0o600)
        os.replace(other, self.file)
        with as_nobody():
            self.assertEqual(self.opened.find(self.spec, "a"), "c")
            self.assertEqual(self.opened.changed, self.spec)
        self.opened.tables.close()
        self.assertLess(len(os.listdir("/proc/self/fd")), before)

    def test_removed(self) -> None:
        """The file goes away: an error at each lookup, never "not found"; when it is back, all is well."""
        self.write(ENTRIES[:10])
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        self.file.unlink()
        for _ in range(2):
            self.assertRaises(TableError, self.opened.find, self.spec, ENTRIES[1][0])
            self.assertEqual(
                self.opened.lines.pop(), f"warning: {self.spec}: open database {self.file}: No such file or directory"
            )
        self.assertEqual(self.opened.changed, self.spec)
        self.write([("a", "b")])
        self.assertEqual(self.opened.find(self.spec, "a"), "b")

    def test_emptied(self) -> None:
        """The file is emptied in place: an error, not "not found"; without growing with each lookup."""
        self.write(ENTRIES[:10])
        self.opened.find(self.spec, "a")
        self.file.write_bytes(b"")
        os.utime(self.file, (1, 1))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            self.assertRaises(TableError, self.opened.find, self.spec, "a")
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)

    def test_configuration_of_the_library(self) -> None:
        """A DB_CONFIG in the current directory means nothing."""
        self.write(ENTRIES[:10])
        elsewhere = self.opened.directory / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "DB_CONFIG").write_text("no such setting\n")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(elsewhere)
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])


class BtreeTests(BerkeleyDBTests):
    """Type btree."""

    kind = "btree"
    other = "hash"


class LmdbTests(DatabaseTests):
    """Type lmdb."""

    kind = "lmdb"
    module = "lmdb"
    flips = (0,)  # the library maps the file and trusts it: it is not safe from more than a file that was cut

    def test_grows(self) -> None:
        """The file is written to, and grows beyond what was mapped: the next lookup sees it, and nothing counts as changed."""
        self.write(ENTRIES[:3])
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        program = (
            "import sys; from tests.tables.databases import write_lmdb; from pathlib import Path;"
            "write_lmdb(Path(sys.argv[1]), ((b'key%d\\0' % n, b'x' * 100) for n in range(100000)))"
        )
        subprocess.run([sys.executable, "-c", program, str(self.file)], check=True, cwd=Path(__file__).parents[2])
        self.assertEqual(self.opened.find(self.spec, "key99999"), "x" * 100)
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        self.assertEqual(self.opened.changed, "")

    def test_replaced(self) -> None:
        """Another file takes the name, or none: the open one answers as before, and counts as changed."""
        self.write(ENTRIES[:3])
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        other = self.opened.directory / "other"
        write_database(self.kind, other, [("a", "b")])
        os.replace(f"{other}.lmdb", self.file)
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        self.assertEqual(self.opened.changed, self.spec)
        later = type(self.opened)(self.opened.directory)
        self.assertEqual(later.find(self.spec, "a"), "b")
        later.tables.close()

    def test_cut_short(self) -> None:
        """A file that was cut short is an error, before it is opened and while it is open."""
        self.write(ENTRIES)
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        os.truncate(self.file, 50_000)
        self.assertRaises(TableError, self.opened.find, self.spec, ENTRIES[1][0])
        self.assertEqual(self.opened.lines, [f"warning: {self.spec}: error reading {self.file}: file was cut short"])
        self.opened.tables.close()
        for octets in (50_000, 8192, 5000, 100):
            os.truncate(self.file, octets)
            self.assertIn(f"open database {self.file}: ", self.opened.problem(self.spec))
            self.opened.tables.close()


class CdbTests(DatabaseTests):
    """Type cdb."""

    def test_replaced(self) -> None:
        """Another file takes the name: the open one answers as before, and counts as changed."""
        self.write(ENTRIES[:3])
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        other = self.opened.directory / "other"
        write_database(self.kind, other, [("a", "b")])
        os.replace(f"{other}.cdb", self.file)
        self.assertEqual(self.opened.find(self.spec, ENTRIES[1][0]), ENTRIES[1][1])
        self.assertEqual(self.opened.changed, self.spec)
        self.opened.tables.close()
        self.assertEqual(self.opened.find(self.spec, "a"), "b")

    def test_large(self) -> None:
        """A file that is too large for memory is read in parts; cut short, it gives errors."""
        write_cdb(self.file, [(b"a", b"1"), (b"big", b"x" * 2**24), (b"b", b"2")])
        for key, length in (("a", 1), ("b", 1), ("big", 2**24), ("c", 0)):
            self.assertEqual(len(self.opened.find(self.spec, key) or ""), length)
        os.truncate(self.file, 5000)
        self.assertRaises(TableError, self.opened.find, self.spec, "b")
        self.assertEqual(self.opened.lines, [f"warning: {self.spec}: error reading {self.file}: file is damaged"])

    def test_many_slots(self) -> None:
        """Slots that are too many for memory are read from the file, also where a search goes on at the beginning."""
        entries = [(b"key%d" % number, b"%d" % number) for number in range(2000)]
        write_cdb(self.file, entries)
        data = self.file.read_bytes()
        unused = next(number for number in range(256) if cdb_hash(b"absent%d" % number) & 0xFF == 7)
        # All entries of this hash table go, for one with nothing but empty slots: a hole in the file.
        header = data[:56] + len(data).to_bytes(4, "little") + (2**23).to_bytes(4, "little") + data[64:]
        self.file.write_bytes(header)
        os.truncate(self.file, len(data) + 2**26)
        for key, value in entries:
            expected = None if cdb_hash(key) & 0xFF == 7 else value.decode()
            self.assertEqual(self.opened.find(self.spec, key.decode()), expected)
        self.assertEqual(self.opened.find(self.spec, f"absent{unused}"), None)
        os.truncate(self.file, 2048)
        self.assertRaises(TableError, self.opened.find, self.spec, "key1")

    def test_full_hash_table(self) -> None:
        """A hash table without an empty slot ends the search after one round."""
        entries = [(b"key%d" % number, b"v") for number in range(3)]
        write_cdb(self.file, entries)
        data = bytearray(self.file.read_bytes())
        table = cdb_hash(b"absent") & 0xFF
        data[table * 8 : table * 8 + 8] = (2048).to_bytes(4, "little") + (1).to_bytes(4, "little")
        self.file.write_bytes(data)
        self.assertEqual(self.opened.find(self.spec, "absent"), None)

    def test_first_of_several(self) -> None:
        """Of several values of a key the first is found."""
        write_cdb(self.file, [(b"a", b"1"), (b"a", b"2")])
        self.assertEqual(self.opened.find(self.spec, "a"), "1")

    def test_hash(self) -> None:
        """The hash is that of cdb(5), whatever the length of a key."""
        for length in (0, 1, 63, 64, 65, 128, 129, 5000):
            key = random.Random(length).randbytes(length)
            value = 5381
            for octet in key:
                value = ((value << 5) + value & 0xFFFFFFFF) ^ octet
            self.assertEqual(cdb_hash(key), value)

    def test_random(self) -> None:
        """Tables of all sizes, where many hashes meet in one slot."""
        chance = random.Random(1)
        for size in (0, 1, 2, 300):
            self.opened.tables.close()
            entries = {chance.randbytes(chance.randint(1, 9)).hex(): chance.randbytes(3).hex() for _ in range(size)}
            self.write(list(entries.items()))
            for key in [*entries, "none"]:
                self.assertEqual(self.opened.find(self.spec, key), entries.get(key))


class TrailingNullTests(TablesCase):
    """The two forms of keys."""

    def test_undecided(self) -> None:
        """As long as nothing is found both forms are tried, the one of postmap(1) first."""
        asked: list[bytes] = []
        keys = TrailingNull()
        stored = {b"b": b"1", b"b\0": b"2"}

        def get(key: bytes) -> bytes | None:
            asked.append(key)
            return stored.get(key)

        self.assertEqual(keys.find(get, b"a"), None)
        self.assertEqual(keys.find(get, b"b"), "2")
        self.assertEqual(keys.find(get, b"a"), None)
        self.assertEqual(asked, [b"a\0", b"a", b"b\0", b"a\0"])


del DatabaseTests
