"""What a TLS session may be taken up for: the same server, asked for in the same way, with the same demands.

Flow: tls/engine.py makes a key for each handshake; tls/session_cache.py finds sessions by it, and by its `id` in the store.
Sources: the lines of smtp(8) about its session cache, smtp_tls_loglevel in postconf(5).
"""

import base64
from collections.abc import Hashable
from dataclasses import dataclass, field

from twisted_mta.tls.canonical import digest_of

FORMAT = 1
"""Raised whenever what is stored with a session, or how servers are judged, changes: an earlier verdict is not believed then."""

LONGEST_ID = 400
"""Octets. One of more than 510 kills a tlsmgr(8) whose table is of type lmdb."""

_OURS = f"twisted_mta:{FORMAT}"


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A key.

    Attributes:
        service: our name.
        nexthop: the destination.
        host: the server's name.
        address: its address.
        terms: all else that the verdict and the session depend on; also something that a digest can be made of.
    """

    service: str
    nexthop: str
    host: str
    address: str
    terms: Hashable
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The digest of all of it, the same in every process; made when it is first asked for."""
        if not self._digest:
            self._digest.append(digest_of((self.service, self.nexthop, self.host, self.address, self.terms)))
        return self._digest[0]

    @property
    def shown(self) -> str:
        """The key in one word, for the log."""
        fields = (self.service, self.nexthop, self.host, self.address, "", "", self.digest)
        return "&".join(_encoded(field) if "&" in field else field for field in fields)

    @property
    def id(self) -> str:
        """The key where others have theirs, too: in ASCII, not too long, and never one of smtp(8)'s.

        Those begin with the name of a service, and have fewer fields.
        """
        shown = self.shown
        is_plain = shown.isascii() and shown.isprintable() and len(_OURS) + 1 + len(shown) <= LONGEST_ID
        return f"{_OURS}&{shown if is_plain else self.digest}"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")
