"""The addresses of a destination in the order to try them, and the bounded walk over them.

Flow: routing/router.py makes Candidates; delivery/ walks them, opens a session to one after the other and says which
sessions came about.
Sources: postconf(5) smtp_mx_address_limit, smtp_mx_session_limit, smtp_cname_overrides_servername; RFC 5321 section 5.1.
"""

import enum
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field


class Family(enum.Enum):
    """What kind of address a candidate has; the IP families go by their names in postconf(5) inet_protocols."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    LOCAL = "unix"

    @property
    def number(self) -> socket.AddressFamily:
        """The AF_ number of the socket interface."""
        return _NUMBERS[self]


_NUMBERS = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6, Family.LOCAL: socket.AF_UNIX}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address to try.

    Attributes:
        host: the server's name in logs, and for SASL, TLS and cache keys: `qname`, or `rname` where
            smtp_cname_overrides_servername is set; for a UNIX-domain socket our own host name.
        address: IPv4 or IPv6 address in its canonical text, or the path of a UNIX-domain socket.
        port: TCP port; 0 for a UNIX-domain socket.
        family: of the address.
        preference: of the MX or SRV record, the lower the better; 0 without one.
        qname: the name that was looked up, in A-label form.
        rname: the name that the address record stands at, after aliases.
        secure: whether the address was validated with DNSSEC; never so for literals and native look-ups.
        namaddr: ``host[address]``.
        relay: ``host[address]:port``; without port for a UNIX-domain socket.
    """

    host: str
    address: str
    port: int
    family: Family
    preference: int = 0
    qname: str = ""
    rname: str = ""
    secure: bool = False
    namaddr: str = field(init=False)
    relay: str = field(init=False)

    def __post_init__(self) -> None:
        namaddr = f"{self.host}[{self.address}]"
        object.__setattr__(self, "namaddr", namaddr)
        object.__setattr__(self, "relay", namaddr if self.family is Family.LOCAL else f"{namaddr}:{self.port}")

    @property
    def path(self) -> str:
        """The path of a UNIX-domain socket; empty for an internet address."""
        return self.address if self.family is Family.LOCAL else ""


def local_candidate(own_name: str, path: str) -> Candidate:
    """A UNIX-domain socket as candidate; it goes by our own host name."""
    return Candidate(own_name, path, 0, Family.LOCAL, qname=own_name, rname=own_name)


class CandidateWalk:
    """The walk over the candidates of one site, which ends early at the limits of addresses and sessions.

    Every candidate that is handed out counts as an address, also one that is passed over without a connection. A session
    counts once its handshake has succeeded: a server that refuses to talk takes no other server's place. An iterator:
    ``for candidate in walk``.
    """

    def __init__(
        self, candidates: Sequence[Candidate], *, address_limit: int, session_limit: int, sessions_used: int = 0
    ) -> None:
        """Stand before the first candidate.

        Args:
            candidates: in the order to try them.
            address_limit: smtp_mx_address_limit; 0 or less: none.
            session_limit: smtp_mx_session_limit; 0 or less: none.
            sessions_used: the number of kept connections used for this site before; each counts for both limits.
        """
        self._candidates = candidates
        self._address_limit = address_limit
        self._session_limit = session_limit
        self._addresses = self._sessions = sessions_used
        self._next = 0
        self._counted_session = False
        # Used up by kept connections alone.
        self._ended = _reached(sessions_used, address_limit) or _reached(sessions_used, session_limit)

    @property
    def is_last(self) -> bool:
        """Whether no candidate follows the current one, as far as is known now."""
        return self._ended or self._next >= len(self._candidates)

    def __iter__(self) -> "CandidateWalk":
        return self

    def __next__(self) -> Candidate:
        if self.is_last:
            raise StopIteration
        candidate = self._candidates[self._next]
        self._next += 1
        self._addresses += 1
        self._counted_session = False
        self._ended = _reached(self._addresses, self._address_limit)
        return candidate

    def count_session(self) -> None:
        """The current candidate's handshake has succeeded; this may make it the last one."""
        if self._counted_session:
            return
        self._counted_session = True
        self._sessions += 1
        self._ended = self._ended or _reached(self._sessions, self._session_limit)

    def repeat(self) -> None:
        """Hand out the current candidate once more (in plaintext, after TLS failed), as if it had not been tried."""
        if not self._next:
            return
        self._next -= 1
        self._addresses -= 1
        if self._counted_session:
            self._sessions -= 1
            self._counted_session = False
        self._ended = False


def _reached(count: int, limit: int) -> bool:
    return 0 < limit <= count
