"""Digests that are the same in every process, and of one value alone."""

import enum
import os
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.canonical import digest_of, octets_of
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association


@dataclass(frozen=True)
class One:
    """A value with something that is neither shown nor compared."""

    shown: object
    hidden: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Two:
    """The same fields under another name."""

    shown: object
    hidden: object = None


class Colour(enum.Enum):
    """Members with values."""

    RED = "1"
    BLUE = 1


class Other(enum.Enum):
    """The same values."""

    RED = "1"


SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.text("ab:1\udcff", max_size=3),
    st.binary(max_size=3),
    st.sampled_from([*Colour, Other.RED, Level.MAY, Level.NONE]),
)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(SIMPLE, max_size=3),
        st.lists(st.tuples(SIMPLE, inner), max_size=2, unique_by=lambda pair: (type(pair[0]), pair[0])).map(dict),
        st.builds(One, inner, inner),
        st.builds(Two, inner, inner),
    ),
    max_leaves=6,
)


def shape_of(value: Any) -> Any:
    """A value that is equal to that of another value only if the two are the same through and through."""
    if isinstance(value, tuple):
        return "tuple", [shape_of(each) for each in value]
    if isinstance(value, frozenset):
        return "frozenset", sorted((shape_of(each) for each in value), key=repr)
    if isinstance(value, dict):
        return "dict", [shape_of(each) for each in value.items()]
    if is_dataclass(value):
        return type(value).__name__, [(each.name, shape_of(getattr(value, each.name))) for each in fields(value)]
    return type(value).__name__, repr(value)


class DigestTests(SynchronousTestCase):
    """`digest_of`."""

    @settings(deadline=None, max_examples=400)
    @given(VALUES, VALUES)
    def test_one_for_each(self, one: Any, other: Any) -> None:
        """Two values have one digest if, and only if, they are the same in all that they consist of."""
        self.assertEqual(octets_of(one) == octets_of(other), shape_of(one) == shape_of(other))

    def test_easily_confused(self) -> None:
        """Values that a careless way of writing would confuse."""
        values: list[Any] = [
            (), ("",), ("", ""), ("a", "b"), ("ab",), ("a", ("b",)), (("a",), "b"), "a", b"a", ("s1:a",), "s1:a", b"s1:a",
            1, True, "1", b"1", Level.MAY, 0, False, Level.NONE, None, "None", frozenset(), {}, frozenset({"a"}), {"a": "b"},
            {"a": "b", "c": "d"}, {"c": "d", "a": "b"}, (("a", "b"), ("c", "d")), Colour.RED, Colour.BLUE, Other.RED,
            One("a"), One("a", "b"), One("a", "c"), Two("a"), Association(3, 1, 1, b""), (3, 1, 1, b""),
            "\udcff", "\ud800", b"\xff",
        ]  # fmt: skip
        self.assertEqual(len({digest_of(value) for value in values}), len(values))

    def test_other_values(self) -> None:
        """Of what may be another thing in the next process there is no digest."""
        for value in (object(), [], {1}, 1.5, lambda: None, (object(),), One(object()), Level, bytearray()):
            self.assertRaises(TypeError, digest_of, value)

    def test_known(self) -> None:
        """The octets do not change from version to version."""
        for value, octets in (
            (("a", 1, None), b"t15:s1:ai1:1c4:None"),
            (Level.MAY, b"e10:Level.i1:1"),
            (frozenset({"b", "a"}), b"f8:s1:as1:b"),
            ({"b": True, "a": b""}, b"m25:t11:s1:bc4:Truet7:s1:ab0:"),
            (
                Association(3, 1, 1, b"x"),
                b"d90:s11:Associationt12:s5:usagei1:3t15:s8:selectori1:1t21:s13:matching_typei1:1t11:s4:datab1:x",
            ),
        ):
            self.assertEqual(octets_of(value), octets)

    def test_other_process(self) -> None:
        """Another process, in which sets have another order, finds the same digest."""
        program = (
            "from twisted_mta.tls.canonical import digest_of\n"
            "print(digest_of(frozenset({'smtp', 'lmtp', b'x', None, 7, ('a', frozenset('bcdefgh'))})))\n"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2", "3")
        }
        self.assertEqual(len(found), 1)
        self.assertRegex(found.pop(), r"\A[0-9A-F]{64}\n\Z")
