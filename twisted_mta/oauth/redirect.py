"""Where a browser is sent after a person has consented: a small web server of this machine, for as long as a login takes.

Flow: login.py listens with it, and gets the URLs that browsers open; sasl/oauth_code.py says which of them is the answer.
Sources: RFC 8252 sections 7.3 and 8.3; twisted.web.server.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

_PAGE = (
    "<!DOCTYPE html><html><head><title>smtpdeliver</title></head><body>"
    "<p>You can close this window. What came of the login is shown where it was begun.</p></body></html>"
)


class RedirectListener:
    """Takes what browsers bring to one URL."""

    def __init__(self, reactor: Any, take: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            reactor: listens.
            take: is called with path and query of each URL that is opened.
        """
        self._reactor = reactor
        self._take = take
        self._port: Any = None

    def listen(self, redirect_uri: str) -> str:
        """Listen at a port that is free.

        Args:
            redirect_uri: ``http://127.0.0.1``, perhaps with a path, without a port.

        Returns:
            The same with the port.

        Raises:
            CannotListenError: that is not possible.
        """
        parts = urlsplit(redirect_uri)
        site = Site(_Landing(parts.path or "/", self._take), reactor=self._reactor)
        site.noisy = False
        address = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        self._port = self._reactor.listenTCP(0, site, interface=address)
        return f"{parts.scheme}://{parts.netloc}:{self._port.getHost().port}{parts.path}"

    def stop(self) -> Deferred[Any]:
        """Listen no more."""
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening if port is not None else lambda: None)


class _Landing(Resource):
    """The one page there is."""

    isLeaf = True

    def __init__(self, path: str, take: Callable[[str], None]) -> None:
        super().__init__()
        self._path = path
        self._take = take

    def render_GET(self, request: Request) -> bytes:
        """Take the URL; what else browsers ask for, such as an icon, is not there."""
        # Nothing else is to be had here, so that the connection need not outlive the login.
        request.channel.persistent = False
        request.setHeader("Connection", "close")
        # The code in the URL is nobody else's business.
        request.setHeader("Referrer-Policy", "no-referrer")
        request.setHeader("Cache-Control", "no-store")
        url = request.uri.decode("ascii", "replace")
        if url.partition("?")[0] != self._path or "?" not in url:
            request.setResponseCode(404)
            return b""
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        self._take(url)
        return _PAGE.encode()
