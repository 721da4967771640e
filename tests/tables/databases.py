"""Write table files as postmap(1) does, with the libraries alone.

Flow: test cases and benchmarks of tables write their files here.
Sources: cdb(5); postmap(1).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from struct import pack

from twisted_mta.tables.cdb import cdb_hash

Entry = tuple[bytes, bytes]
Write = Callable[[Path, Iterable[Entry]], None]


def write_hash(path: Path, entries: Iterable[Entry]) -> None:
    """Write a hash of Berkeley DB, exactly these keys and values."""
    from berkeleydb import db

    _write_berkeley_db(path, entries, db.DB_HASH)


def write_btree(path: Path, entries: Iterable[Entry]) -> None:
    """Write a btree of Berkeley DB, exactly these keys and values."""
    from berkeleydb import db

    _write_berkeley_db(path, entries, db.DB_BTREE)


def _write_berkeley_db(path: Path, entries: Iterable[Entry], kind: int) -> None:
    from berkeleydb import db

    database = db.DB()
    database.set_cachesize(0, 2**26)
    database.open(str(path), dbtype=kind, flags=db.DB_CREATE | db.DB_TRUNCATE)
    for key, value in entries:
        database.put(key, value)
    database.close()


def write_lmdb(path: Path, entries: Iterable[Entry]) -> None:
    """Write an LMDB file, exactly these keys and values."""
    import lmdb

    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**30) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in entries:
            transaction.put(key, value)


def write_cdb(path: Path, entries: Iterable[Entry]) -> None:
    """Write a constant database, exactly these keys and values; a key may be there more than once."""
    records = bytearray(2048)
    slots: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    for key, value in entries:
        hashed = cdb_hash(key)
        slots[hashed & 0xFF].append((hashed, len(records)))
        records += pack("<II", len(key), len(value)) + key + value
    header = b""
    for used in slots:
        room = [(0, 0)] * (2 * len(used))
        header += pack("<II", len(records), len(room))
        for hashed, position in used:
            at = (hashed >> 8) % len(room)
            while room[at][1]:
                at = (at + 1) % len(room)
            room[at] = (hashed, position)
        records += b"".join(pack("<II", *slot) for slot in room)
    records[:2048] = header
    path.write_bytes(records)


WRITERS: dict[str, tuple[Write, str, bytes]] = {
    "hash": (write_hash, ".db", b"\0"),
    "btree": (write_btree, ".db", b"\0"),
    "lmdb": (write_lmdb, ".lmdb", b"\0"),
    "cdb": (write_cdb, ".cdb", b""),
}
"""How each type is written: by what, the suffix of its file, and what postmap(1) puts behind keys and values."""


def write_database(kind: str, source: Path, entries: Iterable[tuple[str, str]]) -> None:
    """Write the file that ``postmap TYPE:source`` would write."""
    write, suffix, ending = WRITERS[kind]
    write(Path(f"{source}{suffix}"), ((key.encode() + ending, value.encode() + ending) for key, value in entries))
