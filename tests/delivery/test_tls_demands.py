"""What a delivery demands of TLS, and when it does without."""

from dataclasses import replace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.messages import ARRIVAL, make_request
from twisted_mta.delivery.cache import Place
from twisted_mta.delivery.tls_demands import TlsDemands
from twisted_mta.model.request import MessageStats, RequestFlags
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.session.login import LoginRules
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policies import TlsPolicies, TlsPolicyError
from twisted_mta.tls.policy import NO_TLS, TlsPolicy

BACKOFF_SECONDS = 300
SERVER = Candidate("mx.example", "192.0.2.1", 25, Family.IPV4)
PLACE = Place("d.example", SERVER, True)
MAY = TlsPolicy(Level.MAY)


class Policies:
    """The same policy for every server; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def for_request(self) -> "Policies":
        """Itself."""
        return self

    async def find(self, *server: object) -> TlsPolicy:
        """The policy."""
        self.asked += 1
        return MAY


class Logins:
    """Logs in with one server."""

    async def may_log_in(self, sender: str, host: str, name: str) -> bool:
        """Whether it is this one."""
        return host == "login.example"


class DemandsTests(SynchronousTestCase):
    """One delivery."""

    def demands(self, *, waited_seconds: float = 0, logins: bool = False, **changes: Any) -> TlsDemands:
        """The demands for a message that has waited so long."""
        self.policies = Policies()
        stats = MessageStats(ARRIVAL, ARRIVAL + int(waited_seconds * 1_000_000), 0, 0, 0, 0)
        request = make_request("r@d.example", stats=stats, **changes)
        rules = cast(LoginRules, Logins()) if logins else None
        return TlsDemands(cast(TlsPolicies, self.policies), request, rules, BACKOFF_SECONDS)

    def policy(self, demands: TlsDemands) -> TlsPolicy:
        """The policy for the server's turn."""
        nothing: Any = None
        policy: TlsPolicy = self.successResultOf(demands.policy(SERVER, nothing, nothing))
        return policy

    def may_be_left_out(self, demands: TlsDemands, level: Level = Level.MAY, place: Place = PLACE) -> bool:
        """Whether the mail may go out in the clear."""
        may: bool = self.successResultOf(demands.may_be_left_out(level, place))
        return may

    def test_in_the_clear_once(self) -> None:
        """What failed with TLS is tried without it; the next server is asked for TLS again."""
        demands = self.demands()
        self.assertIs(self.policy(demands), MAY)
        demands.try_in_the_clear(SERVER)
        self.assertIs(self.policy(demands), NO_TLS)
        self.assertIs(self.policy(demands), MAY)
        self.assertEqual(self.policies.asked, 2)

    def test_in_the_clear_only_there(self) -> None:
        """Another server does not get what was meant for the one whose TLS has failed."""
        demands = self.demands()
        demands.try_in_the_clear(replace(SERVER, address="192.0.2.9"))
        self.assertIs(self.policy(demands), MAY)
        self.assertIs(self.policy(demands), MAY)

    def test_told_once(self) -> None:
        """A server that was passed over when kept sessions were looked for is passed over in its turn, without asking again."""
        demands = self.demands()
        demands.passed_over(SERVER, TlsPolicyError(None))
        nothing: Any = None
        self.failureResultOf(demands.policy(SERVER, nothing, nothing), TlsPolicyError)
        self.assertEqual(self.policies.asked, 0)
        self.assertIs(self.policy(demands), MAY)

    def test_left_out_after_a_while(self) -> None:
        """Only where TLS may be, and the mail has waited; a probe does not wait."""
        self.assertFalse(self.may_be_left_out(self.demands(waited_seconds=BACKOFF_SECONDS - 1)))
        waited = self.demands(waited_seconds=BACKOFF_SECONDS)
        for level in Level:
            self.assertEqual(self.may_be_left_out(waited, level), level is Level.MAY)
        self.assertTrue(self.may_be_left_out(self.demands(flags=RequestFlags.MTA_VRFY)))

    def test_never_with_a_password(self) -> None:
        """Who must log in does not show the password to everybody."""
        demands = self.demands(waited_seconds=BACKOFF_SECONDS, logins=True)
        self.assertTrue(self.may_be_left_out(demands))
        secret = Place("d.example", Candidate("login.example", "192.0.2.2", 25, Family.IPV4), True)
        self.assertFalse(self.may_be_left_out(demands, place=secret))
