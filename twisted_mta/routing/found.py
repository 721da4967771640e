"""What a look-up of a destination found, and the look for ourselves in it.

Flow: routing/mx.py and routing/srv.py make Findings; routing/router.py makes a Route of them.
Sources: RFC 5321 section 5.1 (the list is cut at our own preference); RFC 3463 (4.4.4, 5.4.6).
"""

from dataclasses import dataclass

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.routing.order import HostAddress
from twisted_mta.routing.own_addresses import OwnAddresses


@dataclass(frozen=True, slots=True)
class Referral:
    """The MX or SRV answer that led to the hosts, which DANE has to trust.

    Attributes:
        qname: the name asked for, in A-label form.
        rname: the name that the records stand at, after aliases.
        secure: whether the answer was validated with DNSSEC.
    """

    qname: str
    rname: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a look-up.

    Attributes:
        addresses: in the order to try them; empty if there is a problem.
        problem: why there are none.
        found_self: whether one of the addresses was ours.
        referral: the MX or SRV answer, if there was one with records.
        may_fall_back: whether a failed SRV look-up may be passed over as an error (ignore_srv_lookup_error).
    """

    addresses: tuple[HostAddress, ...] = ()
    problem: DsnStatus | None = None
    found_self: bool = False
    referral: Referral | None = None
    may_fall_back: bool = False


class WhyNot:
    """The status of a destination without address: the text of the last failure, but soft once any of them was soft."""

    def __init__(self) -> None:
        self._soft = False
        self._status = ""
        self._reason = ""

    def note(self, status: str, reason: str) -> None:
        """Take note of a failure.

        Args:
            status: enhanced status code; a class of 5 becomes 4 after a soft failure.
            reason: the text for logs and reports.
        """
        self._soft = self._soft or status[0] == "4"
        self._status = "4" + status[1:] if self._soft else status
        self._reason = reason

    @property
    def problem(self) -> DsnStatus:
        """The status so far."""
        # Without any failure noted there was nothing to look up: no address family, or an empty list of hosts.
        return DsnStatus(self._status or "4.4.4", self._reason or "no addresses were looked up")


def cut_at_self(addresses: list[HostAddress], own: OwnAddresses) -> list[HostAddress]:
    """Leave out ourselves, and every host that is not better than us: it would send the mail back.

    Args:
        addresses: sorted by preference.
        own: the addresses by which we get mail.

    Returns:
        The better ones; the list itself if none is ours.
    """
    ours = next((entry.preference for entry in addresses if entry.address in own), None)
    if ours is None:
        return addresses
    return [entry for entry in addresses if entry.preference < ours]
