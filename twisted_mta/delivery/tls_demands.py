"""What one delivery demands of TLS with each server, and when it does without after TLS has failed.

Flow: delivery/site.py and delivery/kept_sessions.py ask for the policy of each server; delivery/offering.py asks what a failure
means.
Sources: smtp(8); postconf(5) smtp_tls_security_level, minimal_backoff_time; TLS_README.
"""

from twisted_mta.delivery.cache import Place
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.routing.candidates import Candidate
from twisted_mta.routing.destination import Destination
from twisted_mta.routing.router import Route
from twisted_mta.session.login import LoginRules
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policies import TlsPolicies, TlsPolicyError
from twisted_mta.tls.policy import NO_TLS, TlsPolicy

_MICROSECONDS = 1_000_000


class TlsDemands:
    """The demands of one delivery."""

    __slots__ = ("_backoff_seconds", "_in_the_clear", "_logins", "_policies", "_request", "_without_policy")

    def __init__(
        self, policies: TlsPolicies, request: DeliveryRequest, logins: LoginRules | None, backoff_seconds: int
    ) -> None:
        """Begin.

        Args:
            policies: of the configuration.
            request: that is delivered.
            logins: who logs in where; None: nobody.
            backoff_seconds: so long mail has waited before it goes out in the clear where TLS may be, but fails.
        """
        self._policies = policies.for_request()
        self._request = request
        self._logins = logins
        self._backoff_seconds = backoff_seconds
        self._without_policy: dict[Candidate, TlsPolicyError] = {}  # what was told when kept sessions were looked for
        self._in_the_clear: Candidate | None = None  # whose next connection is, whatever the policy

    async def policy(self, candidate: Candidate, destination: Destination, route: Route) -> TlsPolicy:
        """What is demanded of TLS with a server.

        Raises:
            TlsPolicyError: it is to be passed over.
        """
        in_the_clear, self._in_the_clear = self._in_the_clear, None
        if candidate == in_the_clear:
            return NO_TLS
        if candidate in self._without_policy:
            raise self._without_policy.pop(candidate)
        return await self._policies.find(candidate, destination, route)

    def passed_over(self, candidate: Candidate, error: TlsPolicyError) -> None:
        """A kept session with a server was not looked for: for its turn this has been told already."""
        self._without_policy[candidate] = error

    def try_in_the_clear(self, candidate: Candidate) -> None:
        """The next connection is to do without, if it is to this server: TLS has failed, and need not be."""
        self._in_the_clear = candidate

    async def may_be_left_out(self, level: Level, place: Place) -> bool:
        """Whether mail may go out in the clear after TLS has failed: where nobody demands it, and it was tried for a while.

        A probe does not wait; who must log in does not show the password to everybody.
        """
        request, stats = self._request, self._request.stats
        waited = (stats.active_arrival - stats.incoming_arrival) / _MICROSECONDS
        if level is not Level.MAY or not (request.is_probe or waited >= self._backoff_seconds):
            return False
        logins = self._logins
        return logins is None or not await logins.may_log_in(request.sender, place.candidate.host, place.name)
