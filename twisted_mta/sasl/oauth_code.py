"""The authorization code grant with PKCE: a person consents in a browser, which then brings a code to this machine.

Flow: oauth/login.py shows `CodeLogin.url`, gets back the URL that the browser was sent to (through oauth/redirect.py, or as the
person has copied it), and posts what `CodeLogin.request` makes of it.
Sources: RFC 6749 sections 4.1 and 10.12; RFC 7636 sections 4.1 to 4.5; RFC 8252 sections 6 and 7.3.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import parse_qs, urlencode, urlsplit

from twisted_mta.sasl.oauth import GrantError, Remedy, TokenRequest, shown, token_request
from twisted_mta.sasl.oauth_account import Account

LONGEST_URL = 16384
"""Characters of a URL that a browser was sent to; codes of large providers have up to 2,000."""


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """One login.

    Attributes:
        account: whose.
        redirect_uri: where the browser is sent to, with its port.
        user: whose consent is wanted; empty: the person chooses.
        state: tells our answer from others'.
        verifier: proves that the code was asked for by us (RFC 7636 section 4.1).
    """

    account: Account
    redirect_uri: str
    user: str = ""
    state: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)

    @property
    def url(self) -> str:
        """The page that the person opens."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            "response_type": "code",
            "client_id": self.account.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.account.scope,
            "login_hint": self.user,
            **dict(self.account.authorization_parameters),
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = self.account.authorization_endpoint
        query = urlencode({name: value for name, value in parameters.items() if value}, errors="replace")
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"

    def request(self, url: str) -> TokenRequest:
        """The request for tokens with the code that a browser brought.

        Args:
            url: where the browser was sent to; what stands before the question mark may be missing.

        Raises:
            GrantError: consent was refused, or this is the answer to another question, or none at all.
        """
        answer = self._answer(url)
        if not compare_digest(answer.get("state", "").encode(), self.state.encode()):
            raise GrantError("this is not the answer to this login: its state is another", Remedy.LOGIN, code="state")
        if error := answer.get("error"):
            said = shown(answer.get("error_description", ""), [self.verifier, self.state])
            word = shown(error, [self.verifier, self.state])
            problem = f"the authorization server says {word}" + (f" ({said})" if said else "")
            raise GrantError("consent was refused" if error == "access_denied" else problem, Remedy.LOGIN, code=word)
        code = answer.get("code", "")
        if not code:
            raise GrantError("there is no code in this URL", Remedy.LOGIN, code="url")
        return token_request(
            self.account,
            "authorization_code",
            [code, self.verifier],
            code=code,
            redirect_uri=self.redirect_uri,
            code_verifier=self.verifier,
        )

    def _answer(self, url: str) -> dict[str, str]:
        no_url = GrantError("this is not the URL that the browser was sent to", Remedy.LOGIN, code="url")
        if len(url) > LONGEST_URL:
            raise no_url
        query = url.strip().partition("?")[2].partition("#")[0]
        try:
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=50)
        except ValueError as error:
            raise no_url from error
        # RFC 6749, 3.1: no parameter comes twice.
        if not fields or any(len(values) > 1 for values in fields.values()):
            raise no_url
        return {name: values[0] for name, values in fields.items()}
