"""How long tokens serve, and how files keep them."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.sasl.oauth import TokenReply
from twisted_mta.sasl.oauth_tokens import (
    ASSUMED_LIFETIME_SECONDS,
    TokenFileError,
    Tokens,
    from_text,
    to_text,
)

NOW = 1_700_000_000.0


def hour(lifetime: float | None = 3600.0) -> Tokens:
    """Tokens that have just come."""
    return Tokens.from_reply(TokenReply("a1", lifetime, "r1", "mail"), NOW)


class LifeTests(SynchronousTestCase):
    """The life of an access token."""

    def test_an_hour(self) -> None:
        """A token of an hour is replaced five minutes before its end, and used until half a minute before it."""
        tokens = hour()
        for seconds, usable, due in (
            (0, True, False),
            (3299, True, False),
            (3300, True, True),
            (3569, True, True),
            (3570, False, True),
            (9999, False, True),
        ):
            self.assertEqual((tokens.is_usable(NOW + seconds), tokens.is_due(NOW + seconds)), (usable, due), seconds)

    def test_a_minute(self) -> None:
        """The margins of a short life are short."""
        tokens = hour(60.0)
        for seconds, usable, due in ((47, True, False), (48, True, True), (53, True, True), (54, False, True)):
            self.assertEqual((tokens.is_usable(NOW + seconds), tokens.is_due(NOW + seconds)), (usable, due), seconds)

    def test_no_life(self) -> None:
        """A token that is dead when it comes is never used from here."""
        self.assertFalse(hour(0.0).is_usable(NOW))

    def test_unknown_life(self) -> None:
        """A server that does not tell gives an hour."""
        self.assertEqual(hour(None).lifetime_seconds, ASSUMED_LIFETIME_SECONDS)

    def test_no_token(self) -> None:
        """Without an access token there is nothing to use."""
        self.assertEqual((Tokens().is_usable(NOW), Tokens().is_due(NOW)), (False, True))
        self.assertFalse(hour().without_access().is_usable(NOW))
        self.assertEqual(hour().without_access().refresh_token, "r1")

    def test_clock_set_back(self) -> None:
        """A token from the future is replaced: its end cannot be trusted either."""
        self.assertTrue(hour().is_due(NOW - 7200))
        self.assertFalse(hour().is_due(NOW - 5))

    def test_rotation(self) -> None:
        """A new refresh token takes the place of the old one, which stays where there is none."""
        self.assertEqual(Tokens.from_reply(TokenReply("a2", 60.0), NOW, hour()).refresh_token, "r1")
        self.assertEqual(Tokens.from_reply(TokenReply("a2", 60.0, "r2"), NOW, hour()).refresh_token, "r2")
        self.assertEqual(Tokens.from_reply(TokenReply("a2", 60.0), NOW, hour()).scope, "mail")

    @settings(deadline=None, max_examples=60)
    @given(st.floats(0, 1e7), st.floats(-1e7, 1e7))
    def test_any_time(self, lifetime: float, seconds: float) -> None:
        """No token is used after its end, and none is used up without having been due before."""
        tokens = hour(lifetime)
        if tokens.is_usable(NOW + seconds):
            self.assertLess(seconds, lifetime)
        else:
            self.assertTrue(tokens.is_due(NOW + seconds))


class FileTests(SynchronousTestCase):
    """What a token file says."""

    def test_round_trip(self) -> None:
        """What was kept comes back; the user's name may be written in another case."""
        text = to_text("work", "Alice@x.example", hour()).encode()
        self.assertEqual(from_text(text, "work", "alice@X.example"), hour())

    def test_odd_users(self) -> None:
        """A user's name may be made of any bytes."""
        text = to_text("work", "\udcffx\u00e4", hour()).encode()
        self.assertEqual(from_text(text, "work", "\udcffx\u00c4"), hour())

    def test_somebody_elses(self) -> None:
        """The file of another user or account is not taken for this one's."""
        text = to_text("work", "alice", hour()).encode()
        for account, user in (("home", "alice"), ("work", "bob")):
            self.assertRaises(TokenFileError, from_text, text, account, user)

    def test_damage(self) -> None:
        """A damaged file is told from a good one, and nothing of it is shown."""
        good = json.loads(to_text("work", "alice", hour()))
        for change in (
            {"form": 2},
            {"access_token": None},
            {"access_token": "a\nb"},
            {"refresh_token": "x" * 9000},
            {"expires_at": "soon"},
            {"expires_at": float("nan")},
            {"obtained_at": True},
            {"user": 5},
        ):
            error = self.assertRaises(TokenFileError, from_text, json.dumps(good | change).encode(), "work", "alice")
            self.assertNotIn("x" * 9, str(error))
        for text in (b"", b"{", b"[]", b"\xff", b"[" * 50000):
            self.assertRaises(TokenFileError, from_text, text, "work", "alice")

    def test_no_secrets_in_reprs(self) -> None:
        """What a value shows of itself is no secret."""
        for secret in hour().secrets:
            self.assertNotIn(secret, repr(hour()))
