"""Kept sessions as octets."""

import math
import struct
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.levels import Level
from twisted_mta.tls.session_record import LONGEST_SESSION, KeptSession, octets_of_session, read_session
from twisted_mta.tls.verification import Verdict

DIGEST, OTHER_DIGEST = "AB" * 32, "AC" * 32
VERDICT = Verdict(Level.VERIFY, has_certificate=True, trusted=True, matched=True)
SESSION = KeptSession(b"\x30\x03\x02\x01\x01", VERDICT, 1795390836.25)
OCTETS = octets_of_session(SESSION, DIGEST)
VERSION, LEVEL, TIME, WHOSE, DER = 4, 6, 8, 16, 48
"""Where the parts begin."""


def der(octets: int) -> bytes:
    """A sequence of so many octets, more than 256."""
    return b"\x30\x82" + struct.pack(">H", octets - 4) + bytes(octets - 4)


def changed(at: int, part: bytes) -> bytes:
    """The record with another part."""
    return OCTETS[:at] + part + OCTETS[at + len(part) :]


class RecordTests(SynchronousTestCase):
    """`octets_of_session` and `read_session`."""

    def test_there_and_back(self) -> None:
        """Each verdict that there can be comes back, with time and session."""
        for level in Level:
            for has_certificate, trusted in ((False, False), (True, False), (True, True)):
                if level is Level.NONE:
                    continue
                verdict = Verdict(level, has_certificate, trusted, matched=trusted and level.must_match)
                session = KeptSession(der(2000), verdict, 1795390836.25)
                self.assertEqual(read_session(octets_of_session(session, DIGEST), DIGEST), session)

    def test_known(self) -> None:
        """The octets do not change from version to version."""
        self.assertEqual(
            OCTETS,
            b"tmta\0\1\7\7" + struct.pack(">d", 1795390836.25) + b"\xab" * 32 + b"\x30\x03\x02\x01\x01",
        )

    def test_whose(self) -> None:
        """That of another key is nobody's."""
        self.assertIsNone(read_session(OCTETS, OTHER_DIGEST))

    def test_impossible_verdicts(self) -> None:
        """A verdict that is never given is not believed: a match without trust, trust without a certificate."""
        possible = {0b000, 0b001, 0b011, 0b111}
        for level, flags in product(range(256), range(16)):
            found = read_session(changed(LEVEL, bytes((level, flags))), DIGEST)
            fine = Level.MAY <= level <= Level.SECURE and flags in possible
            if fine:
                fine = (flags == 0b111) == (Level(level).must_match and bool(flags & 0b010))
            self.assertEqual(found is not None, fine, (level, flags))

    def test_damaged(self) -> None:
        """Another format, another time than a number, another session than one sequence: nothing."""
        for octets in (
            b"",
            OCTETS[:DER],
            OCTETS[:-1],
            OCTETS + b"\0",
            changed(0, b"x"),
            changed(VERSION, b"\0\2"),
            changed(DER, b"\x31"),
            changed(DER, b"\x30\x80"),
            changed(TIME, struct.pack(">d", math.nan)),
            changed(TIME, struct.pack(">d", math.inf)),
            changed(WHOSE, b"\xac"),
        ):
            self.assertIsNone(read_session(octets, DIGEST), octets)

    def test_size(self) -> None:
        """One that is too large is none."""
        for octets, is_fine in ((LONGEST_SESSION, True), (LONGEST_SESSION + 1, False)):
            session = KeptSession(der(octets), VERDICT, 0)
            self.assertEqual(read_session(octets_of_session(session, DIGEST), DIGEST) is not None, is_fine)

    @settings(deadline=None, max_examples=300)
    @given(
        st.one_of(st.binary(max_size=80), st.builds(changed, st.integers(0, DER), st.binary(min_size=1, max_size=9)))
    )
    def test_any_octets(self, octets: bytes) -> None:
        """Octets are a session that is written the same way, or none; it never fails."""
        found = read_session(octets, DIGEST)
        if found is not None:
            self.assertEqual(octets_of_session(found, DIGEST), octets)

    def test_serves(self) -> None:
        """Mail may go over a connection whose server proved what was demanded."""
        unproved = Verdict(Level.VERIFY, has_certificate=True, trusted=False, matched=False)
        encrypted = Verdict(Level.ENCRYPT, has_certificate=True, trusted=False, matched=False)
        serving = [KeptSession(b"", verdict, 0).serves for verdict in (VERDICT, unproved, encrypted)]
        self.assertEqual(serving, [True, False, True])

    def test_secret(self) -> None:
        """What a session is worth is not shown."""
        self.assertNotIn("secret", repr(KeptSession(b"secret", VERDICT, 0)))
