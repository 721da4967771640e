"""Tests of twisted_mta.delivery.refusal."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.messages import make_request
from tests.kit.reporter import MemoryReporter
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.delivery.refusal import RefusingAgent
from twisted_mta.interfaces import IDeliveryAgent
from twisted_mta.model.events import ConfigurationProblem, Event
from twisted_mta.model.result import Fate


class RefusingAgentTests(SynchronousTestCase):
    """A service whose configuration cannot be used."""

    def setUp(self) -> None:
        """Make an agent."""
        self.clock = Clock()
        self.events: list[Event] = []
        self.agent = RefusingAgent("bad value", self.clock, self.events.append, lambda: 1_700_000_000_000_000)

    def test_interface(self) -> None:
        """It is a delivery agent."""
        verifyObject(IDeliveryAgent, self.agent)

    def test_defers(self) -> None:
        """Every recipient is deferred with 4.3.5 and the reason, and the destination is held back (RFC 3463 X.3.5)."""
        reporter = MemoryReporter()
        status = self.successResultOf(
            self.agent.deliver(make_request("a@dest.example", "b@dest.example"), BytesContent(b""), reporter)
        )
        self.assertFalse(status.complete)
        assert status.hop_status is not None
        self.assertEqual(status.hop_status.status, "4.3.5")
        self.assertEqual(
            [(result.fate, result.dsn.status, result.dsn.reason, result.relay) for result in reporter.results],
            [(Fate.DEFERRED, "4.3.5", "mail system configuration error: bad value", "none")] * 2,
        )

    def test_reminds_once_a_minute(self) -> None:
        """As long as there are requests, the log is reminded once a minute."""
        for seconds in (0, 59, 1, 1, 60):
            self.clock.advance(seconds)
            self.agent.deliver(make_request("a@dest.example"), BytesContent(b""), MemoryReporter())
        self.assertEqual(self.events, [ConfigurationProblem("bad value")] * 2)
