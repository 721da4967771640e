"""Requests to token servers, and what their replies mean."""

import base64
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.sasl.oauth import (
    LONGEST_LIFETIME_SECONDS,
    LONGEST_TOKEN,
    LONGEST_WAIT_SECONDS,
    GrantError,
    HttpReply,
    Remedy,
    TokenReply,
    client_credentials_request,
    read_token_reply,
    refresh_request,
    revocation_request,
    shown,
    without_secrets,
)
from twisted_mta.sasl.oauth_account import Account, ClientAuthentication, Grant

ACCOUNT = Account(
    "work",
    Grant.CLIENT_CREDENTIALS,
    "client one",
    "s3cret:+&",
    token_endpoint="https://token.example/token",
    revocation_endpoint="https://token.example/revoke",
    scope="mail send",
)


def json_reply(status: int = 200, *, retry_after: str = "", **content: Any) -> HttpReply:
    """A reply with a JSON object."""
    return HttpReply(status, json.dumps(content).encode(), retry_after)


class RequestTests(SynchronousTestCase):
    """Forms (RFC 6749 section 2.3.1, 4.4.2 and 6)."""

    def test_client_credentials(self) -> None:
        """The client says who it is in the Authorization header, both parts encoded, and asks for its scope."""
        request = client_credentials_request(ACCOUNT)
        self.assertEqual(request.url, "https://token.example/token")
        self.assertEqual(
            dict(parse_qsl(request.form.decode())), {"grant_type": "client_credentials", "scope": "mail send"}
        )
        scheme, _, pair = request.authorization.partition(" ")
        self.assertEqual((scheme, base64.b64decode(pair)), ("Basic", b"client+one:s3cret%3A%2B%26"))

    def test_secret_in_the_body(self) -> None:
        """Where the account says so, the secret stands in the form, for servers that read it there only."""
        request = client_credentials_request(replace(ACCOUNT, client_authentication=ClientAuthentication.BODY))
        self.assertEqual(request.authorization, "")
        fields = dict(parse_qsl(request.form.decode()))
        self.assertEqual((fields["client_id"], fields["client_secret"]), ("client one", "s3cret:+&"))

    def test_public_client(self) -> None:
        """A client without a secret only says its name."""
        request = refresh_request(replace(ACCOUNT, client_secret="", grant=Grant.DEVICE_CODE), "r1")
        self.assertEqual(request.authorization, "")
        self.assertEqual(
            dict(parse_qsl(request.form.decode())),
            {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "client one"},
        )

    def test_other_parameters(self) -> None:
        """What the account file adds goes with each request for a token, such as an audience; not with a revocation."""
        account = replace(ACCOUNT, token_parameters=(("audience", "smtp"),))
        self.assertIn(b"audience=smtp", client_credentials_request(account).form)
        self.assertIn(b"audience=smtp", refresh_request(account, "r1").form)
        self.assertEqual(revocation_request(account, "r1").form, b"token=r1")

    def test_no_secrets_in_reprs(self) -> None:
        """No secret is in what a value shows of itself."""
        request = refresh_request(ACCOUNT, "refresh-1")
        for value in (ACCOUNT, request, TokenReply("access-1", 1.0, "refresh-1"), HttpReply(200, b"access-1")):
            for secret in ("s3cret", "refresh-1", "access-1", *request.secrets):
                self.assertNotIn(secret, repr(value))


class TokenReplyTests(SynchronousTestCase):
    """Replies with tokens (RFC 6749 section 5.1)."""

    def refused(self, reply: HttpReply) -> GrantError:
        """The error of a reply."""
        error: GrantError = self.assertRaises(GrantError, read_token_reply, reply)
        return error

    def test_tokens(self) -> None:
        """All that a reply may say."""
        reply = json_reply(access_token="a1", token_type="bearer", expires_in=3600, refresh_token="r1", scope="mail")
        self.assertEqual(read_token_reply(reply), TokenReply("a1", 3600.0, "r1", "mail"))

    def test_least_reply(self) -> None:
        """Only the access token has to be there."""
        self.assertEqual(read_token_reply(json_reply(access_token="a1")), TokenReply("a1"))
        self.assertEqual(
            read_token_reply(json_reply(access_token="a1", refresh_token=None, expires_in=None)), TokenReply("a1")
        )

    def test_lifetimes(self) -> None:
        """A lifetime may be written as a text; what makes no sense does not count, and nothing lasts for ever."""
        for value, seconds in (
            (0, 0.0),
            (-5, 0.0),
            ("3599", 3599.0),
            (12.5, 12.5),
            (1e300, LONGEST_LIFETIME_SECONDS),
            ("1e999", LONGEST_LIFETIME_SECONDS),
            (10**400, None),
            ("soon", None),
            ("nan", None),
            (True, None),
            ([1], None),
        ):
            self.assertEqual(read_token_reply(json_reply(access_token="a", expires_in=value)).lifetime_seconds, seconds)

    def test_tokens_that_cannot_be_used(self) -> None:
        """No token, an endless one, or one that would break the SASL message is refused; it is not shown."""
        for token in (
            None,
            "",
            5,
            ["a"],
            "a" * (LONGEST_TOKEN + 1),
            "a b",
            "a\x01auth=",
            "a\r\nQUIT",
            "t\u00f6ken",
            "\ud800",
        ):
            error = self.refused(json_reply(access_token=token))
            self.assertEqual(error.remedy, Remedy.WAIT)
            if isinstance(token, str) and token:
                self.assertNotIn(token, error.problem)
        self.assertIn("refresh token", self.refused(json_reply(access_token="a", refresh_token="b c")).problem)

    def test_type(self) -> None:
        """A token that is not for whoever bears it needs more than we can do."""
        for kind in ("mac", 5, None):
            self.assertEqual(
                self.refused(json_reply(access_token="a", token_type=kind)).problem,
                "the token server gave a token of another type than Bearer",
            )

    def test_no_json_object(self) -> None:
        """A page for people, half an object, or a list is no reply; nothing of it is shown."""
        for body in (b"", b"<html>secret</html>", b'{"access_token": "a', b'["a"]', b"null", b"[" * 60000, b"\xff\xfe"):
            self.assertEqual(
                self.refused(HttpReply(200, body)).problem, "the token server's reply is not a JSON object", body[:9]
            )

    def test_strange_scope(self) -> None:
        """A scope is kept as text that does no harm."""
        self.assertEqual(read_token_reply(json_reply(access_token="a", scope="x\n\u00e4\ud800")).scope, "x???")
        self.assertEqual(read_token_reply(json_reply(access_token="a", scope=["x"])).scope, "")

    @settings(deadline=None, max_examples=60)
    @given(
        st.dictionaries(
            st.sampled_from(["access_token", "expires_in", "refresh_token", "token_type", "scope", "error"]),
            st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
        ),
        st.sampled_from([200, 301, 400, 401, 429, 500, 0]),
    )
    def test_any_object(self, content: dict[str, Any], status: int) -> None:
        """Whatever an object holds, there is a sane reply or an error on one line."""
        try:
            reply = read_token_reply(HttpReply(status, json.dumps(content).encode()))
        except GrantError as error:
            self.assertTrue(error.problem.isprintable())
        else:
            self.assertEqual(status, 200)
            self.assertTrue(reply.access_token.isascii() and reply.access_token.isprintable())

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, body: bytes) -> None:
        """Nor do any bytes do harm."""
        self.assertRaises(GrantError, read_token_reply, HttpReply(200, body))


class RefusalTests(SynchronousTestCase):
    """Errors of token servers (RFC 6749 section 5.2)."""

    def refused(self, reply: HttpReply, *secrets: str) -> GrantError:
        """The error of a reply."""
        error: GrantError = self.assertRaises(GrantError, read_token_reply, reply, secrets)
        return error

    def test_remedies(self) -> None:
        """Consent that is gone needs a login, a client that the server does not want another configuration, the rest time."""
        for code, remedy in (
            ("invalid_grant", Remedy.LOGIN),
            ("interaction_required", Remedy.LOGIN),
            ("invalid_client", Remedy.CONFIGURE),
            ("invalid_scope", Remedy.CONFIGURE),
            ("temporarily_unavailable", Remedy.WAIT),
            ("something_new", Remedy.WAIT),
        ):
            error = self.refused(json_reply(400, error=code))
            self.assertEqual((error.code, error.remedy), (code, remedy))
            self.assertEqual(error.problem, f"the token server says {code}")

    def test_error_with_another_status(self) -> None:
        """An error counts whatever the status is; but a server that is not well means no word of it."""
        self.assertEqual(self.refused(json_reply(200, error="invalid_grant")).remedy, Remedy.LOGIN)
        self.assertEqual(self.refused(json_reply(401, error="invalid_client")).remedy, Remedy.CONFIGURE)
        self.assertEqual(self.refused(json_reply(503, error="invalid_grant")).remedy, Remedy.WAIT)
        self.assertEqual(self.refused(json_reply(429, error="invalid_request")).remedy, Remedy.WAIT)

    def test_description(self) -> None:
        """What the server explains is shown on one line, not at any length, and with its secrets gone."""
        error = self.refused(
            json_reply(400, error="invalid_grant", error_description="gone:\r\n\tr+1 r%2B1 \x1b[2J " + "x" * 500), "r+1"
        )
        self.assertTrue(error.problem.startswith("the token server says invalid_grant (gone: *** *** ?[2J xxx"))
        self.assertTrue(error.problem.endswith("x...)"))
        self.assertLess(len(error.problem), 300)

    def test_strange_code(self) -> None:
        """A code that is none is not shown."""
        for code in ("a b", "\x1b[2J", "x" * 65):
            self.assertEqual(
                self.refused(json_reply(400, error=code)).problem, "the token server says an error without a name"
            )
        self.assertEqual(self.refused(json_reply(400, error="s3cret"), "s3cret").problem, "the token server says ***")

    def test_statuses(self) -> None:
        """Without a word the status decides."""
        for status, remedy in (
            (400, Remedy.CONFIGURE),
            (404, Remedy.CONFIGURE),
            (408, Remedy.WAIT),
            (429, Remedy.WAIT),
            (500, Remedy.WAIT),
            (503, Remedy.WAIT),
            (201, Remedy.CONFIGURE),
        ):
            error = self.refused(HttpReply(status, b"<html>"))
            self.assertEqual((error.problem, error.remedy), (f"the token server replied with HTTP {status}", remedy))

    def test_redirect(self) -> None:
        """Nobody may send us elsewhere with the secrets, not even with tokens in the same reply."""
        reply = HttpReply(307, json_reply(access_token="a").body, location="https://evil.example/")
        self.assertIn("which is not followed", self.refused(reply).problem)

    def test_retry_after(self) -> None:
        """A server may ask for a pause, but for no endless one; dates do not count."""
        for text, seconds in (
            ("7", 7.0),
            (" 120 ", 120.0),
            ("99999999", LONGEST_WAIT_SECONDS),
            ("9" * 5000, 0.0),
            ("-1", 0.0),
            ("\u0663", 0.0),
            ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
            ("", 0.0),
        ):
            self.assertEqual(self.refused(HttpReply(503, b"", text)).retry_after_seconds, seconds)
            self.assertEqual(self.refused(json_reply(429, error="slow", retry_after=text)).retry_after_seconds, seconds)


class SecretTests(SynchronousTestCase):
    """What is shown of foreign texts."""

    @settings(deadline=None, max_examples=60)
    @given(st.text(min_size=1, max_size=8, alphabet="ab+/% ="), st.text(max_size=20, alphabet="ab+/% ="))
    def test_without_secrets(self, secret: str, text: str) -> None:
        """A secret is never left, wherever it stands."""
        self.assertNotIn(secret, without_secrets(f"{text}{secret}{text}", [secret]).replace("***", "\0"))

    def test_nothing_to_hide(self) -> None:
        """An empty secret hides nothing."""
        self.assertEqual(shown("fine", ["", "x"]), "fine")
