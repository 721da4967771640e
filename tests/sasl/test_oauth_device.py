"""The device grant (RFC 8628)."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.sasl.oauth import GrantError, HttpReply, Remedy
from twisted_mta.sasl.oauth_account import Account, Grant
from twisted_mta.sasl.oauth_device import (
    LONGEST_INTERVAL_SECONDS,
    DeviceCode,
    DevicePolling,
    device_request,
    read_device_code,
)

ACCOUNT = Account(
    "work",
    Grant.DEVICE_CODE,
    "id",
    token_endpoint="https://t.example/token",
    device_authorization_endpoint="https://t.example/device",
    scope="mail offline",
)

GOOD: dict[str, Any] = {
    "device_code": "d1",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://t.example/go",
    "expires_in": 600,
    "interval": 3,
}

CODE = DeviceCode("d1", "ABCD-EFGH", "https://t.example/go", "", 600.0, 3.0)


def reply(status: int = 200, **content: Any) -> HttpReply:
    """A reply with a JSON object."""
    return HttpReply(status, json.dumps(content).encode())


class CodeTests(SynchronousTestCase):
    """Asking for a code (RFC 8628 sections 3.1 and 3.2)."""

    def test_request(self) -> None:
        """The client says its name and what it wants; a secret goes where it goes in other requests."""
        request = device_request(ACCOUNT)
        self.assertEqual(request.url, "https://t.example/device")
        self.assertEqual(dict(parse_qsl(request.form.decode())), {"client_id": "id", "scope": "mail offline"})
        request = device_request(replace(ACCOUNT, client_secret="hush"))
        self.assertTrue(request.authorization.startswith("Basic "))
        self.assertIn(b"client_id=id", request.form)

    def test_reply(self) -> None:
        """What a person is told, and how often we ask."""
        self.assertEqual(read_device_code(reply(**GOOD)), CODE)
        complete = "https://t.example/go?code=ABCD-EFGH"
        self.assertEqual(read_device_code(reply(**GOOD, verification_uri_complete=complete)).complete_uri, complete)

    def test_other_name(self) -> None:
        """Google's word for the page is another."""
        content = GOOD | {"verification_url": GOOD["verification_uri"]}
        del content["verification_uri"]
        self.assertEqual(read_device_code(reply(**content)), CODE)

    def test_usual_values(self) -> None:
        """A reply without an interval means five seconds."""
        code = read_device_code(reply(**{key: GOOD[key] for key in ("device_code", "user_code", "verification_uri")}))
        self.assertEqual((code.interval_seconds, code.lifetime_seconds), (5.0, 900.0))

    def test_odd_values(self) -> None:
        """Numbers that would have us ask for ever, or without a pause, do not count."""
        for interval, seconds in (
            (0, 1.0),
            (-9, 1.0),
            (1e99, 60.0),
            ("7", 7.0),
            ("x", 5.0),
            ("nan", 5.0),
            ([], 5.0),
            (10**400, 5.0),
        ):
            self.assertEqual(read_device_code(reply(**GOOD | {"interval": interval})).interval_seconds, seconds)
        self.assertEqual(read_device_code(reply(**GOOD | {"expires_in": 1e9})).lifetime_seconds, 3600.0)

    def test_hostile_replies(self) -> None:
        """What a person sees and types can do no harm to the terminal, nor lead anywhere but to a web page."""
        for change in (
            {"user_code": "\x1b]0;x"},
            {"user_code": None},
            {"user_code": "x" * 5000},
            {"device_code": ""},
            {"verification_uri": "file:///etc/passwd"},
            {"verification_uri": "https://t.example/\u202e"},
            {"verification_uri": 5},
        ):
            error = self.assertRaises(GrantError, read_device_code, reply(**GOOD | change))
            self.assertEqual(error.remedy, Remedy.CONFIGURE)
        self.assertEqual(
            read_device_code(reply(**GOOD, verification_uri_complete="javascript:alert(1)")).complete_uri, ""
        )

    def test_refusal(self) -> None:
        """A server that gives this client no codes says why."""
        error = self.assertRaises(GrantError, read_device_code, reply(400, error="invalid_scope"))
        self.assertEqual(error.problem, "the token server says invalid_scope")


class PollingTests(SynchronousTestCase):
    """Asking whether somebody has consented (RFC 8628 sections 3.4 and 3.5)."""

    def setUp(self) -> None:
        """Begin."""
        self.polling = DevicePolling(ACCOUNT, CODE, 1000.0)

    def test_request(self) -> None:
        """The question."""
        self.assertEqual(
            dict(parse_qsl(self.polling.request.form.decode())),
            {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "d1", "client_id": "id"},
        )

    def test_pending(self) -> None:
        """Nobody has consented yet: the same question after the same time."""
        self.assertIsNone(self.polling.read(reply(400, error="authorization_pending"), 1003.0))
        self.assertEqual(self.polling.wait_seconds, 3.0)

    def test_consent(self) -> None:
        """Then there are tokens."""
        tokens = self.polling.read(reply(access_token="a1", refresh_token="r1", expires_in=60), 1003.0)
        assert tokens is not None
        self.assertEqual((tokens.access_token, tokens.refresh_token), ("a1", "r1"))

    def test_slow_down(self) -> None:
        """Each slow_down adds five seconds, up to a minute."""
        for seconds in (8.0, 13.0, 18.0):
            self.assertIsNone(self.polling.read(reply(400, error="slow_down"), 1003.0))
            self.assertEqual(self.polling.wait_seconds, seconds)
        for _ in range(20):
            self.polling.read(reply(400, error="slow_down"), 1003.0)
        self.assertEqual(self.polling.wait_seconds, LONGEST_INTERVAL_SECONDS)

    def test_trouble(self) -> None:
        """A server that is not well is asked less and less often."""
        for answer, seconds in (
            (HttpReply(503), 6.0),
            (reply(429, error="busy"), 12.0),
            (HttpReply(200, b"<html>"), 24.0),
        ):
            self.assertIsNone(self.polling.read(answer, 1003.0))
            self.assertEqual(self.polling.wait_seconds, seconds)

    def test_no(self) -> None:
        """Consent is refused, the code is too old, or the client is not wanted: then it is over."""
        for code, problem, remedy in (
            ("access_denied", "consent was refused", Remedy.LOGIN),
            ("expired_token", "nobody consented in time", Remedy.LOGIN),
            ("invalid_grant", "the token server says invalid_grant", Remedy.LOGIN),
            ("unauthorized_client", "the token server says unauthorized_client", Remedy.CONFIGURE),
        ):
            error = self.assertRaises(GrantError, self.polling.read, reply(400, error=code), 1003.0)
            self.assertEqual((error.problem, error.remedy), (problem, remedy))

    def test_too_late(self) -> None:
        """A server that never says no is asked no longer than its code lives."""
        self.assertIsNone(self.polling.read(reply(400, error="authorization_pending"), 1596.0))
        error = self.assertRaises(GrantError, self.polling.read, reply(400, error="authorization_pending"), 1597.0)
        self.assertEqual(error.problem, "nobody consented in time")

    def test_no_secrets(self) -> None:
        """The device code is a secret as well."""
        error = self.assertRaises(
            GrantError, self.polling.read, reply(400, error="invalid_client", error_description="code d1 of id"), 1003.0
        )
        self.assertNotIn("d1", error.problem)
        self.assertNotIn("d1", repr(CODE))

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.sampled_from(["authorization_pending", "slow_down", "server_error"]), max_size=80))
    def test_it_ends(self, errors: list[str]) -> None:
        """Whatever mixture of not-yet comes, it ends with the life of the code."""
        polling, now = DevicePolling(ACCOUNT, CODE, 0.0), 0.0
        try:
            for error in errors:
                now += polling.wait_seconds
                self.assertIsNone(polling.read(reply(400, error=error), now))
                self.assertLess(now, 600.0)
        except GrantError as error:
            self.assertEqual(error.code, "expired_token")
