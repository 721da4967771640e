"""What a policy depends on, in the form in which routing/ has it.

Flow: delivery/ has a server, its destination and the way there, and asks tls/policies.py about them.
"""

from typing import Protocol


class Server(Protocol):
    """One address of a server; `twisted_mta.routing.candidates.Candidate` is one."""

    @property
    def host(self) -> str:
        """The server's name; our own for a local socket."""

    @property
    def port(self) -> int:
        """TCP port; 0 for a local socket."""

    @property
    def qname(self) -> str:
        """The name that was looked up, in A-label form."""

    @property
    def rname(self) -> str:
        """The name at which the address stands, after aliases."""

    @property
    def secure(self) -> bool:
        """Whether the address was validated with DNSSEC."""

    @property
    def path(self) -> str:
        """The path of a local socket; empty for an internet address."""


class Site(Protocol):
    """A destination; `twisted_mta.routing.destination.Destination` is one."""

    @property
    def text(self) -> str:
        """As it is written, brackets and port included."""

    @property
    def host(self) -> str:
        """Domain, host name or address, without brackets and port."""


class Directions(Protocol):
    """The MX or SRV answer that named the hosts; `twisted_mta.routing.found.Referral` is one."""

    @property
    def qname(self) -> str:
        """The name asked for."""

    @property
    def rname(self) -> str:
        """The name at which the records stand, after aliases."""

    @property
    def secure(self) -> bool:
        """Whether the answer was validated with DNSSEC."""


class Way(Protocol):
    """The way to a destination; `twisted_mta.routing.router.Route` is one."""

    @property
    def referral(self) -> Directions | None:
        """The answer that named the hosts; None: there was none."""
