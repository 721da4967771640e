"""The table of decisions."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.delivery.verdict import VERDICTS, Disposition, Kind, judge
from twisted_mta.smtp.actions import Scope

BOOLEANS = (False, True)


class VerdictTests(SynchronousTestCase):
    """Next host, defer or bounce."""

    def test_every_key_has_one_row(self) -> None:
        """The table is complete, and has nothing else."""
        self.assertEqual(set(VERDICTS), set(product(Scope, Kind, BOOLEANS)))

    def test_policy(self) -> None:
        """Soft ones wait for the last host, hard ones do not; soft_bounce makes hard ones wait."""
        wanted = {
            # hard, soft_bounce, last host
            (False, False, False): Disposition.NEXT_HOST,
            (False, False, True): Disposition.DEFER,
            (False, True, False): Disposition.NEXT_HOST,
            (False, True, True): Disposition.DEFER,
            (True, False, False): Disposition.BOUNCE,
            (True, False, True): Disposition.BOUNCE,
            (True, True, False): Disposition.NEXT_HOST,
            (True, True, True): Disposition.BOUNCE,
        }
        for scope, (hard, soft_bounce, last) in product(Scope, wanted):
            verdict = judge(scope, is_hard=hard, soft_bounce=soft_bounce, last_host=last)
            self.assertIs(verdict.disposition, wanted[hard, soft_bounce, last])

    def test_throttling(self) -> None:
        """Only what is wrong with the site holds the destination back."""
        for scope, hard, soft_bounce, last in product(Scope, BOOLEANS, BOOLEANS, BOOLEANS):
            verdict = judge(scope, is_hard=hard, soft_bounce=soft_bounce, last_host=last)
            self.assertIs(verdict.throttles, scope is Scope.SITE)
