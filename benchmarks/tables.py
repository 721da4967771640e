"""What lookups in tables cost: per second, beside the plain call of the library, for small and large tables.

Run ``python -m benchmarks.tables [TYPE...]``. The plain call takes the same lock, and makes text of bytes, but neither folds keys
nor checks that the file has not changed. Each figure is the best of many short runs, ours and plain ones in turn.
Sources: DATABASE_README(5).
"""

import fcntl
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.tables.databases import WRITERS, write_database
from tests.tables.opened import OpenTables
from twisted_mta.tables.locks import FcntlLock
from twisted_mta.tables.patterns import Effort

SIZES = (10, 10_000, 1_000_000)
MOST_PATTERNS = 10_000
"""Rules are tried one after the other: a million of them would say nothing new."""
RUNS = 50
RUN_SECONDS = 0.02
"""Many short runs: in some of them, nothing else on the machine disturbs."""

Call = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Figures:
    """Lookups per second, with ours and with the plain call."""

    size: int
    ours: float
    plain: float | None


def rate(call: Call, keys: Sequence[str], lookups: int) -> float:
    """Lookups per second."""
    chosen = list(itertools.islice(itertools.cycle(keys), lookups))
    began = time.perf_counter()
    for key in chosen:
        call(key)
    return lookups / (time.perf_counter() - began)


def measure(size: int, ours: Call, plain: Call | None, keys: Sequence[str]) -> Figures:
    """Measure two calls in turn."""
    lookups = max(20, int(rate(ours, keys, min(len(keys), 100)) * RUN_SECONDS))
    best = [0.0, 0.0]
    for _ in range(RUNS):
        for place, call in enumerate((ours, plain)):
            if call is not None:
                best[place] = max(best[place], rate(call, keys, lookups))
    return Figures(size, best[0], best[1] if plain is not None else None)


def entry_keys(size: int) -> list[str]:
    """Keys to ask: every second one of them is found."""
    chance = random.Random(1)
    found = [f"user{chance.randrange(size)}@example.com" for _ in range(500)]
    return [key for number, each in enumerate(found) for key in (each, f"nobody{number}@example.com")]


def entries(size: int) -> Iterator[tuple[str, str]]:
    """The entries of a table."""
    return ((f"user{number}@example.com", f"someone{number}@example.org") for number in range(size))


def plain_berkeley_db(path: Path, kind: str) -> Call:
    """The library's call, with flock(2)."""
    from berkeleydb import db

    database = db.DB()
    database.open(str(path), dbtype=db.DB_HASH if kind == "hash" else db.DB_BTREE, flags=db.DB_RDONLY)
    descriptor = os.open(path, os.O_RDONLY)
    flock, shared, unlock, get = fcntl.flock, fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_UN, database.get

    def call(key: str) -> str | None:
        flock(descriptor, shared)
        found = get(key.encode() + b"\0")
        flock(descriptor, unlock)
        return None if found is None else found[:-1].decode()

    return call


def plain_lmdb(path: Path) -> Call:
    """The library's call, with fcntl(2)."""
    import lmdb

    # A process may open a file but once.
    other = path.with_name(f"plain-{path.name}")
    other.write_bytes(path.read_bytes())
    environment = lmdb.open(str(other), subdir=False, readonly=True, lock=False, create=False)
    lock = FcntlLock(os.open(other, os.O_RDONLY))

    def call(key: str) -> str | None:
        lock.acquire()
        with environment.begin() as transaction:
            found = transaction.get(key.encode() + b"\0")
        lock.release()
        return None if found is None else found[:-1].decode()

    return call


def plain_cdb(path: Path) -> Call | None:
    """A library in Python; None where it is not installed."""
    try:
        import cdblib
    except ImportError:
        return None
    reader = cdblib.Reader.from_file_path(str(path))

    def call(key: str) -> str | None:
        found = reader.get(key.encode())
        return None if found is None else found.decode()

    return call


def database_figures(kind: str, directory: Path) -> Iterator[Figures]:
    """hash, btree, lmdb and cdb."""
    for size in SIZES:
        source = directory / f"{kind}{size}"
        write_database(kind, source, entries(size))
        path = Path(f"{source}{WRITERS[kind][1]}")
        table = OpenTables(directory).tables.open(f"{kind}:{source}")
        plain = (
            plain_cdb(path) if kind == "cdb" else plain_lmdb(path) if kind == "lmdb" else plain_berkeley_db(path, kind)
        )
        yield measure(size, table.lookup, plain, entry_keys(size))


def memory_figures(kind: str, directory: Path) -> Iterator[Figures]:
    """Types texthash and inline, beside a dictionary."""
    for size in SIZES:
        if kind == "inline":
            spec = "inline:{" + ", ".join(f"{key}={value}" for key, value in entries(size)) + "}"
        else:
            path = directory / f"text{size}"
            path.write_text("".join(f"{key} {value}\n" for key, value in entries(size)))
            spec = f"texthash:{path}"
        table = OpenTables(directory).tables.open(spec)
        yield measure(size, table.lookup, plain_dictionary(dict(entries(size))), entry_keys(size))


def plain_dictionary(dictionary: dict[str, str]) -> Call:
    """A dictionary with keys in lower case."""
    return lambda key: dictionary.get(key.lower())


def cidr_figures(kind: str, directory: Path) -> Iterator[Figures]:
    """cidr, where long lists cost no more than short ones."""
    for size in SIZES:
        path = directory / f"cidr{size}"
        path.write_text("".join(f"{10 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24 {n}\n" for n in range(size)))
        table = OpenTables(directory).tables.open(f"cidr:{path}")
        chance = random.Random(1)
        numbers = [chance.randrange(size) for _ in range(500)]
        keys = [f"{10 + n // 65536}.{n // 256 % 256}.{n % 256}.7" for n in numbers] + ["2001:db8::1", "9.0.0.1"] * 250
        yield measure(size, table.lookup, None, keys)


def pattern_figures(kind: str, directory: Path) -> Iterator[Figures]:
    """Types regexp and pcre, beside the library's patterns in a loop; no key is found, which takes longest."""
    for size in (each for each in SIZES if each <= MOST_PATTERNS):
        path = directory / f"{kind}{size}"
        patterns = [f"^X-Header-{number}: (bad|worse)" for number in range(size)]
        path.write_text("".join(f"/{pattern}/ REJECT\n" for pattern in patterns))
        table = OpenTables(directory).tables.open(f"{kind}:{path}")
        yield measure(
            size, table.lookup, plain_patterns(kind, patterns), ["Received: from a.example by b.example"] * 100
        )


def plain_patterns(kind: str, patterns: Sequence[str]) -> Call:
    """The library's patterns, one after the other."""
    if kind == "pcre":
        from twisted_mta.tables.pcre import PERL as DIALECT
    else:
        from twisted_mta.tables.regexp import POSIX as DIALECT
    compile_pattern = DIALECT.compiler(Effort())
    searches = [compile_pattern(pattern.encode(), DIALECT.default).test for pattern in patterns]

    def call(key: str) -> bool:
        subject = key.encode()
        for search in searches:  # noqa: SIM110 -- the plain loop is what is measured
            if search(subject):
                return True
        return False

    return call


KINDS: dict[str, Callable[[str, Path], Iterator[Figures]]] = {
    **dict.fromkeys(WRITERS, database_figures),
    "texthash": memory_figures,
    "inline": memory_figures,
    "cidr": cidr_figures,
    "regexp": pattern_figures,
    "pcre": pattern_figures,
}


def main(kinds: Sequence[str]) -> int:
    """Print a line for each type and size."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        print(f"no such type: {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)
        return 64
    print(f"{'type':10}{'entries':>10}{'lookups/s':>12}{'plain':>12}{'ratio':>8}{'us':>9}")
    for kind in kinds or KINDS:
        with TemporaryDirectory() as directory:
            for figures in KINDS[kind](kind, Path(directory)):
                plain = f"{figures.plain:12,.0f}{figures.ours / figures.plain:8.2f}" if figures.plain else " " * 20
                print(f"{kind:10}{figures.size:>10,}{figures.ours:12,.0f}{plain}{1e6 / figures.ours:9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
