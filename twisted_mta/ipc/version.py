"""What the private sockets of a Postfix speak, as its version says.

Flow: ipc/installed.py parses what postconf(1) says of mail_version; postfix/ and ipc/client.py build from it what they send
and expect.
Sources: RELEASE_NOTES of Postfix 3.6, 3.8, 3.10 and 3.11; postconf(5) mail_version.
"""

import enum
import re
from dataclasses import dataclass, field

from twisted_mta.ipc.attributes import IpcError, encode

_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])(?:\.([0-9]{1,3})(?![0-9]))?")

# Since which patch of a minor version, where a fix was made in several of them.
_LEVEL_IN_NAMES = {(3, 8): 12, (3, 9): 6, (3, 10): 4}
_SMTPUTF8_IN_NAMES = {(3, 8): 12, (3, 9): 6, (3, 10): 5}


class Greeting(enum.StrEnum):
    """What the accepting side of a private socket calls its protocol."""

    DELIVERY_REQUEST = "delivery_request_protocol"
    DELIVERY_STATUS = "delivery_status_protocol"
    QUEUE_FLUSH = "queue_flush_protocol"
    ADDRESS_VERIFICATION = "address_verification_prrotocol"  # spelt so on the wire
    TLS_MANAGER = "tlsmgr_protocol"
    CONNECTION_CACHE = "connection_cache_protocol"
    TABLE_PROXY = "proxymap_protocol"
    CLEANUP = "cleanup_protocol"
    REWRITE = "trivial_rewrite_protocol"


@dataclass(frozen=True, slots=True, order=True)
class PostfixVersion:
    """A version of Postfix, as far as it matters on a socket; versions are compared without the patch."""

    major: int
    minor: int
    patch: int = field(default=0, compare=False)

    @classmethod
    def parse(cls, mail_version: str) -> "PostfixVersion":
        """Read mail_version: ``3.7.11``, or a snapshot's ``3.11-20250901``.

        Raises:
            IpcError: it begins with no version number.
        """
        match = _VERSION.match(mail_version)
        if match is None:
            raise IpcError(f'mail_version "{mail_version}" is not a version number such as 3.7.11')
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))

    @property
    def greets(self) -> bool:
        """Whether the accepting side of a private socket sends a list first that names its protocol."""
        return self >= PostfixVersion(3, 6)

    @property
    def send_options_name(self) -> str:
        """The attribute that says what a message needs: SMTPUTF8, and since 3.10 more."""
        return "sendopts" if self >= PostfixVersion(3, 10) else "smtputf8"

    @property
    def destination_has_port(self) -> bool:
        """Whether the properties of a cached destination include ``host_port``."""
        return self >= PostfixVersion(3, 8)

    @property
    def destination_has_level(self) -> bool:
        """Whether the TLS level belongs to the name of a cached destination."""
        return self._has(_LEVEL_IN_NAMES)

    @property
    def cached_by_smtputf8(self) -> bool:
        """Whether the need for SMTPUTF8 belongs to the names of what is cached."""
        return self._has(_SMTPUTF8_IN_NAMES)

    @property
    def cached_by_requiretls(self) -> bool:
        """Whether the need for REQUIRETLS does."""
        return self >= PostfixVersion(3, 11)

    def _has(self, fix: dict[tuple[int, int], int]) -> bool:
        minor = (self.major, self.minor)
        return self.patch >= fix[minor] if minor in fix else minor > max(fix)

    @property
    def tables_have_instance_flags(self) -> bool:
        """Whether proxymap(8) takes ``instance_flags`` with a request, and gives ``flags`` with a reply."""
        return self >= PostfixVersion(3, 11)

    def greeting(self, protocol: Greeting) -> bytes:
        """The list that the accepting side sends first; empty where it sends none."""
        return encode([("protocol", protocol)]) if self.greets else b""
