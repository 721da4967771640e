"""An OAuth2 token server: real tokens with real ends, over HTTP on loopback, and whatever else a test wants it to say.

It has clients, a person who consents when a test says so, refresh tokens that serve once and are missed when they come again, and
the two endpoints by which Dovecot asks whether a token is good.

    server = TokenServer(reactor, seconds=clock.seconds)
    port = server.listen(reactor)          # http://127.0.0.1:PORT/...
    server.answers["/token"] = [Answer(503, b"busy")]   # the next replies, one after the other; then it behaves again

Flow: tests/oauth and tests/interop/test_oauth.py start one, and look at `requests`.
Sources: RFC 6749 sections 3.1, 3.2, 4 to 6; RFC 7009; RFC 7636 section 4.6; RFC 7662; RFC 8628 sections 3.1 to 3.5; the manual of
Dovecot's oauth2 database for tokeninfo_url.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from twisted_mta.sasl.oauth import GrantError, HttpReply, Remedy, TokenRequest

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is none of a token server's.

    Attributes:
        status: of HTTP.
        body: the content.
        headers: beside Content-Length.
        wait: whether it comes only when the test calls `TokenServer.go_on`.
        flood: whether the content is repeated until the client goes away.
        hang_up: whether the connection ends in place of a reply.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    wait: bool = False
    flood: bool = False
    hang_up: bool = False


@dataclass(slots=True)
class Asked:
    """A request that came.

    Attributes:
        path: of the URL.
        fields: its form, or the query.
        authorization: that header.
    """

    path: str
    fields: Fields
    authorization: str = ""


@dataclass(slots=True)
class _Grant:
    """What a person, or a client for itself, has been given."""

    client: str
    user: str
    scope: str
    # Of the access tokens, in the order in which they were given, and when each ends.
    access: dict[str, float] = field(default_factory=dict)
    refresh: str = ""
    used_up: set[str] = field(default_factory=set)
    is_gone: bool = False


@dataclass(slots=True)
class _Pending:
    """A device or a browser that waits for a person."""

    client: str
    scope: str
    user_code: str = ""
    user: str = ""
    is_refused: bool = False
    ends_at: float = 0.0
    redirect_uri: str = ""
    challenge: str = ""


class TokenServer:
    """A token server.

    Attributes:
        clients: ids and secrets; an empty secret: a public client.
        lifetime_seconds: of access tokens.
        rotates: whether each refresh gives a new refresh token, and takes the old one away.
        interval_seconds: of device codes.
        device_lifetime_seconds: of device codes.
        service_user: who a client is that acts for itself.
        requests: all that came, in order.
        answers: for each path what comes instead of a true reply, one after the other.
        open: how many requests wait for their reply.
        most_at_once: how many requests for tokens were open at the same time, at most.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Prepare.

        Args:
            seconds: the time since the epoch.
        """
        self.clients: dict[str, str] = {"client": "hush"}
        self.lifetime_seconds: object = 3600
        self.rotates = True
        self.interval_seconds = 5
        self.device_lifetime_seconds = 600
        self.service_user = "service@dest.example"
        self.requests: list[Asked] = []
        self.answers: dict[str, list[Answer]] = {}
        self.most_at_once = 0
        self.open = 0
        self._seconds = seconds
        self._grants: list[_Grant] = []
        self._devices: dict[str, _Pending] = {}
        self._codes: dict[str, _Pending] = {}
        self._count = 0
        self._port: IListeningPort | None = None
        self._later: Callable[..., object] = lambda *_: None
        self._held: list[Callable[[], None]] = []
        self._scheme = "http"

    # ---- life ----

    def listen(self, reactor: Any, interface: str = "127.0.0.1", context: Any = None) -> int:
        """Listen; returns the port.

        Args:
            reactor: listens.
            interface: where.
            context: a context factory, for https.
        """
        self._later = reactor.callLater
        site = Site(_Endpoint(self), reactor=reactor)
        site.noisy = False
        if context is None:
            self._port = reactor.listenTCP(0, site, interface=interface)
        else:
            self._scheme = "https"
            self._port = reactor.listenSSL(0, site, context, interface=interface)
        return self.port

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._port is not None
        number: int = self._port.getHost().port  # type: ignore[attr-defined]
        return number

    def url(self, path: str) -> str:
        """The URL of one of its paths; without sockets, one that only looks like it."""
        if self._port is None:
            return f"https://t.example{path}"
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    def stop(self) -> Deferred[Any]:
        """Stop listening."""
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    def go_on(self) -> None:
        """Give the answers that wait."""
        held, self._held = self._held, []
        for call in held:
            call()

    # ---- people ----

    def consent(self, user: str, user_code: str = "") -> None:
        """A person consents to a device; without a code to the last one that asked."""
        self._device(user_code).user = user

    def refuse(self, user_code: str = "") -> None:
        """A person says no to a device."""
        self._device(user_code).is_refused = True

    def _device(self, user_code: str) -> _Pending:
        return [each for each in self._devices.values() if user_code in ("", each.user_code)][-1]

    def browse(self, url_fields: Fields, user: str) -> str:
        """A person opens the authorization endpoint and consents; returns the URL that the browser is sent to."""
        self._count += 1
        code = f"code-{self._count}"
        self._codes[code] = _Pending(
            url_fields["client_id"],
            url_fields.get("scope", ""),
            user=user,
            redirect_uri=url_fields["redirect_uri"],
            challenge=url_fields.get("code_challenge", ""),
        )
        return f"{url_fields['redirect_uri']}/?{urlencode({'code': code, 'state': url_fields['state']})}"

    def withdraw(self, user: str) -> None:
        """A person takes the consent back."""
        for grant in self._grants:
            if grant.user == user:
                grant.is_gone = True

    # ---- what there is ----

    def given(self, user: str) -> list[str]:
        """All access tokens that a user has been given, in order."""
        return [token for grant in self._grants if grant.user == user for token in grant.access]

    def refresh_token(self, user: str) -> str:
        """The refresh token of a user that is good."""
        return [grant.refresh for grant in self._grants if grant.user == user and not grant.is_gone][-1]

    def posted(self, grant_type: str) -> list[Asked]:
        """The requests for tokens by one grant."""
        return [asked for asked in self.requests if asked.fields.get("grant_type") == grant_type]

    def user_of(self, token: str) -> str:
        """Whose access token this is, if it is good; else empty."""
        for grant in self._grants:
            if not grant.is_gone and grant.access.get(token, 0.0) > self._seconds():
                return grant.user
        return ""

    # ---- endpoints ----

    def reply(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """The status and the object that answer a request."""
        match asked.path:
            case "/token":
                return self._token(asked)
            case "/device":
                return self._device_code(asked)
            case "/revoke":
                return self._revoke(asked)
            case "/tokeninfo":
                return self._token_info(asked.fields.get("access_token", ""))
            case "/introspect":
                return self._introspect(asked)
        return 404, {}

    def _client(self, asked: Asked) -> str:
        """Who asks; empty: nobody that is known (RFC 6749 section 2.3.1)."""
        name, secret = asked.fields.get("client_id", ""), asked.fields.get("client_secret", "")
        scheme, _, pair = asked.authorization.partition(" ")
        if scheme == "Basic":
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            name, secret = unquote_plus(name), unquote_plus(secret)
        return name if name in self.clients and self.clients[name] == secret else ""

    def _token(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        client = self._client(asked)
        if not client:
            return 401, {"error": "invalid_client", "error_description": f"unknown client {asked.fields}"}
        match asked.fields.get("grant_type", ""):
            case "client_credentials":
                grant = _Grant(client, self.service_user, asked.fields.get("scope", ""))
                self._grants.append(grant)
                return 200, self._give(grant, with_refresh=False)
            case "refresh_token":
                return self._refreshed(client, asked.fields.get("refresh_token", ""))
            case "authorization_code":
                return self._code(client, asked.fields)
            case kind if kind == DEVICE_GRANT:
                return self._device_token(client, asked.fields.get("device_code", ""))
        return 400, {"error": "unsupported_grant_type"}

    def _refreshed(self, client: str, token: str) -> tuple[int, dict[str, Any]]:
        for grant in self._grants:
            if grant.client != client or grant.is_gone:
                continue
            if token in grant.used_up:
                # RFC 9700, 4.14.2: somebody has stolen it, or lost the new one; nobody can tell.
                grant.is_gone = True
            elif token and token == grant.refresh:
                return 200, self._give(grant, with_refresh=self.rotates)
        return 400, {"error": "invalid_grant", "error_description": f"refresh token {token} is no good"}

    def _code(self, client: str, fields: Fields) -> tuple[int, dict[str, Any]]:
        pending = self._codes.pop(fields.get("code", ""), None)
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            pending is None
            or pending.client != client
            or pending.redirect_uri != fields.get("redirect_uri")
            or pending.challenge != challenge
        ):
            return 400, {"error": "invalid_grant"}
        return 200, self._first(pending)

    def _device_code(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        client = self._client(asked)
        if not client:
            return 401, {"error": "invalid_client"}
        self._count += 1
        code, user_code = f"device-{self._count}", f"ABCD-{self._count:04}"
        ends_at = self._seconds() + self.device_lifetime_seconds
        self._devices[code] = _Pending(client, asked.fields.get("scope", ""), user_code, ends_at=ends_at)
        return 200, {
            "device_code": code,
            "user_code": user_code,
            "verification_uri": self.url("/go"),
            "verification_uri_complete": f"{self.url('/go')}?user_code={user_code}",
            "expires_in": self.device_lifetime_seconds,
            "interval": self.interval_seconds,
        }

    def _device_token(self, client: str, code: str) -> tuple[int, dict[str, Any]]:
        pending = self._devices.get(code)
        if pending is None or pending.client != client:
            return 400, {"error": "invalid_grant"}
        if pending.is_refused:
            return 400, {"error": "access_denied"}
        if self._seconds() >= pending.ends_at:
            return 400, {"error": "expired_token"}
        if not pending.user:
            return 400, {"error": "authorization_pending"}
        del self._devices[code]
        return 200, self._first(pending)

    def _first(self, pending: _Pending) -> dict[str, Any]:
        grant = _Grant(pending.client, pending.user, pending.scope)
        self._grants.append(grant)
        return self._give(grant, with_refresh=True)

    def _give(self, grant: _Grant, *, with_refresh: bool) -> dict[str, Any]:
        self._count += 1
        access = f"access-{self._count}"
        seconds = self.lifetime_seconds if isinstance(self.lifetime_seconds, int | float) else 3600
        grant.access[access] = self._seconds() + seconds
        content: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime_seconds}
        if grant.scope:
            content["scope"] = grant.scope
        if with_refresh:
            if grant.refresh:
                grant.used_up.add(grant.refresh)
            content["refresh_token"] = grant.refresh = f"refresh-{self._count}"
        return content

    def _revoke(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        client = self._client(asked)
        if not client:
            return 401, {"error": "invalid_client"}
        token = asked.fields.get("token", "")
        for grant in self._grants:
            if grant.client == client and token and (token == grant.refresh or token in grant.access):
                grant.is_gone = True
        return 200, {}

    def _token_info(self, token: str) -> tuple[int, dict[str, Any]]:
        user = self.user_of(token)
        return (200, {"email": user, "expires_in": 60}) if user else (400, {"error": "invalid_token"})

    def _introspect(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """RFC 7662 section 2.2, for POST; with GET and a bearer token, a page about the user."""
        token = asked.fields.get("token", "") or asked.authorization.removeprefix("Bearer ")
        user = self.user_of(token)
        return 200, {"active": True, "username": user, "email": user} if user else {"active": False}

    # ---- without HTTP ----

    async def post(self, request: TokenRequest, ca_file: str = "") -> HttpReply:
        """What `WebClient.post` does, with this server at the other end, and no sockets between them."""
        fields = dict(parse_qsl(request.form.decode(), keep_blank_values=True))
        asked = Asked(urlsplit(request.url).path, fields, request.authorization)
        self.requests.append(asked)
        self.open += 1
        self.most_at_once = max(self.most_at_once, self.open)
        try:
            waiting = self.answers.get(asked.path, [])
            answer = waiting.pop(0) if waiting else None
            if answer is not None and answer.wait:
                going_on: Deferred[None] = Deferred()
                self._held.append(lambda: going_on.callback(None))
                await going_on
        finally:
            self.open -= 1
        if answer is None or (answer.wait and not answer.body):
            status, content = self.reply(asked)
            return HttpReply(status, json.dumps(content).encode())
        if answer.hang_up:
            raise GrantError("no reply from the token server", Remedy.WAIT)
        return HttpReply(answer.status, answer.body, dict(answer.headers).get("Retry-After", ""))

    # ---- HTTP ----

    def handle(self, request: Request) -> object:
        """Answer a request of HTTP."""
        asked = _asked(request)
        self.requests.append(asked)
        self.open += 1
        self.most_at_once = max(self.most_at_once, self.open)
        request.notifyFinish().addBoth(self._closed)
        waiting = self.answers.get(asked.path, [])
        if not waiting:
            return _json(request, *self.reply(asked))
        answer = waiting.pop(0)
        if answer.wait:
            # What it says then is what is true then, unless the test has said what.
            self._held.append(lambda: self._late(request, asked, answer))
            return NOT_DONE_YET
        return self._play(request, answer)

    def _closed(self, _: object) -> None:
        self.open -= 1

    def _late(self, request: Request, asked: Asked, answer: Answer) -> None:
        if request._disconnected:
            return
        content = answer.body or _json(request, *self.reply(asked))
        if answer.body:
            request.setResponseCode(answer.status)
        request.write(content)
        request.finish()

    def _flood(self, request: Request, chunk: bytes) -> None:
        if not request._disconnected:
            request.write(chunk)
            self._later(0.0, self._flood, request, chunk)

    def _play(self, request: Request, answer: Answer) -> object:
        request.setResponseCode(answer.status)
        for name, value in answer.headers:
            request.responseHeaders.addRawHeader(name, value)
        if answer.hang_up:
            channel: Any = request.channel
            channel.transport.abortConnection()
            return NOT_DONE_YET
        if answer.flood:
            self._flood(request, answer.body)
            return NOT_DONE_YET
        return answer.body


class _Endpoint(Resource):
    """All paths."""

    isLeaf = True

    def __init__(self, server: TokenServer) -> None:
        super().__init__()
        self._server = server

    def render_GET(self, request: Request) -> object:
        """Answer."""
        return self._server.handle(request)

    def render_POST(self, request: Request) -> object:
        """Answer."""
        return self._server.handle(request)


def _asked(request: HttpRequest) -> Asked:
    fields = {name.decode(): values[0].decode() for name, values in (request.args or {}).items()}
    return Asked(request.path.decode(), fields, request.getHeader("Authorization") or "")


def _json(request: Request, status: int, content: dict[str, Any]) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Cache-Control", "no-store")
    return json.dumps(content).encode()
