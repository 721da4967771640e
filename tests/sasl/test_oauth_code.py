"""The authorization code grant with PKCE (RFC 6749 section 4.1; RFC 7636)."""

import base64
import hashlib
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.sasl.oauth import GrantError, Remedy
from twisted_mta.sasl.oauth_account import Account, Grant
from twisted_mta.sasl.oauth_code import LONGEST_URL, CodeLogin

ACCOUNT = Account(
    "work",
    Grant.AUTHORIZATION_CODE,
    "id",
    token_endpoint="https://t.example/token",
    authorization_endpoint="https://t.example/consent",
    scope="mail offline",
    authorization_parameters=(("access_type", "offline"),),
)

HERE = "http://127.0.0.1:4711"


class UrlTests(SynchronousTestCase):
    """What the person opens."""

    def test_url(self) -> None:
        """All that the server has to know; the verifier itself is not in it."""
        login = CodeLogin(ACCOUNT, HERE, "alice@x.example")
        url = urlsplit(login.url)
        self.assertEqual(f"{url.scheme}://{url.netloc}{url.path}", "https://t.example/consent")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=").decode()
        self.assertEqual(
            dict(parse_qsl(url.query)),
            {
                "response_type": "code",
                "client_id": "id",
                "redirect_uri": HERE,
                "scope": "mail offline",
                "login_hint": "alice@x.example",
                "access_type": "offline",
                "state": login.state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            },
        )
        self.assertNotIn(login.verifier, login.url)

    def test_each_login_is_another(self) -> None:
        """State and verifier are made anew, long enough (RFC 7636 section 4.1), and not shown."""
        one, other = CodeLogin(ACCOUNT, HERE), CodeLogin(ACCOUNT, HERE)
        self.assertNotEqual(one.state, other.state)
        self.assertNotEqual(one.verifier, other.verifier)
        self.assertRegex(one.verifier, r"\A[A-Za-z0-9_-]{43,128}\Z")
        self.assertNotIn(one.verifier, repr(one))

    def test_endpoint_with_parameters(self) -> None:
        """An endpoint may have parameters of its own (RFC 6749 section 3.1); any user's name can be hinted at."""
        account = replace(ACCOUNT, authorization_endpoint="https://t.example/consent?policy=1")
        url = CodeLogin(account, HERE, "\udcff").url
        self.assertTrue(url.startswith("https://t.example/consent?policy=1&response_type=code&"))


class AnswerTests(SynchronousTestCase):
    """What the browser brings."""

    def setUp(self) -> None:
        """Begin a login."""
        self.login = CodeLogin(ACCOUNT, HERE)

    def refused(self, url: str) -> GrantError:
        """The error of an answer."""
        error: GrantError = self.assertRaises(GrantError, self.login.request, url)
        return error

    def test_code(self) -> None:
        """The code is changed for tokens, together with the verifier."""
        request = self.login.request(f"{HERE}/?state={self.login.state}&code=c%2F1&session_state=x#end")
        self.assertEqual(request.url, "https://t.example/token")
        self.assertEqual(
            dict(parse_qsl(request.form.decode())),
            {
                "grant_type": "authorization_code",
                "client_id": "id",
                "code": "c/1",
                "redirect_uri": HERE,
                "code_verifier": self.login.verifier,
            },
        )
        self.assertIn("c/1", request.secrets)

    def test_path_alone(self) -> None:
        """What the browser's request names is enough."""
        self.assertIn(b"code=c1", self.login.request(f"/?code=c1&state={self.login.state}\n").form)

    def test_another_state(self) -> None:
        """An answer to another question is not taken, whoever has sent the browser here (RFC 6749 section 10.12)."""
        for url in (
            "/?code=c1",
            "/?code=c1&state=x",
            f"/?code=c1&state={self.login.state}x",
            "/?error=access_denied",
            "/?code=a&state=%C3%A4",
        ):
            self.assertEqual(self.refused(url).code, "state")

    def test_refusal(self) -> None:
        """Somebody said no, or the server does not like the question."""
        state = f"state={self.login.state}"
        self.assertEqual(self.refused(f"/?error=access_denied&{state}").problem, "consent was refused")
        error = self.refused(f"/?error=invalid_scope&error_description=no%0D%0A{self.login.state}&{state}")
        self.assertEqual(error.problem, "the authorization server says invalid_scope (no ***)")
        self.assertEqual(error.remedy, Remedy.LOGIN)

    def test_no_code(self) -> None:
        """A URL without what is needed."""
        self.assertEqual(self.refused(f"/?state={self.login.state}").problem, "there is no code in this URL")
        for url in (
            "",
            "hello",
            "/?",
            "https://t.example/consent",
            "/?" + "&".join(f"a{n}=1" for n in range(60)),
            f"/?state={self.login.state}&code=a&code=b",
            "?" + "x" * LONGEST_URL,
        ):
            self.assertEqual(self.refused(url).problem, "this is not the URL that the browser was sent to")

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """Whatever a person pastes is no answer."""
        self.assertRaises(GrantError, self.login.request, f"/?code=a&{text}")
