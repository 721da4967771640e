"""The factory that dials the candidates of a destination."""

from errno import ECONNREFUSED

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.limits import SECONDS
from tests.kit.network import NEVER, Host, MemoryDialer, Unreachable
from tests.kit.script import Script
from twisted_mta.delivery.dial import DialError
from twisted_mta.delivery.factory import DestinationFactory, SessionParts
from twisted_mta.model.events import Event
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.session import Session
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.settings import DialogSettings

GOOD = Candidate("mx.example", "192.0.2.1", 25, Family.IPV4)
DEAD = Candidate("dead.example", "192.0.2.2", 25, Family.IPV4)
SILENT = Candidate("silent.example", "192.0.2.3", 25, Family.IPV4)


class DestinationFactoryTests(SynchronousTestCase):
    """Sessions with candidates."""

    def setUp(self) -> None:
        """Three hosts."""
        self.clock = Clock()
        self.events: list[Event] = []
        hosts: dict[str, Host] = {
            GOOD.address: Script(),
            DEAD.address: Unreachable(ECONNREFUSED),
            SILENT.address: NEVER,
        }
        self.dialer = MemoryDialer(self.clock, hosts)
        parts = SessionParts(
            DialogSettings(hello_name="client.test"),
            TimeLimits(SECONDS),
            998,
            self.dialer,
            self.clock,
            self.events.append,
        )
        self.factory = DestinationFactory(parts, "dest.example", detect_loops=True)

    def open(self, candidate: Candidate, *, is_best: bool = True) -> Deferred[Session]:
        """Ask for a session."""
        return Deferred.fromCoroutine(self.factory.open(candidate, is_best=is_best))

    def test_interface(self) -> None:
        """It is a factory as Twisted knows them."""
        self.assertTrue(verifyObject(IProtocolFactory, self.factory))

    def test_session(self) -> None:
        """A session knows its peer, and can be greeted."""
        done = self.open(GOOD, is_best=False)
        self.clock.advance(0)
        session = self.successResultOf(done)
        self.assertEqual(
            session.peer,
            Peer(
                "mx.example", "192.0.2.1", "mx.example[192.0.2.1]", "mx.example[192.0.2.1]:25", "dest.example",
                is_best=False, detect_loops=True,
            ),
        )  # fmt: skip
        greeted = Deferred.fromCoroutine(session.greet(Occasion("4Abc12")))
        self.clock.pump([0] * 5)
        self.assertIsNone(self.successResultOf(greeted))
        self.assertEqual(self.dialer.servers["192.0.2.1"].sessions[0].commands, ["EHLO client.test"])

    def test_one_after_the_other(self) -> None:
        """A host that cannot be reached does not keep the next one from being tried."""
        failed = self.open(DEAD)
        self.clock.advance(0)
        error = self.failureResultOf(failed, DialError).value
        assert isinstance(error, DialError)
        self.assertEqual(error.why.reason, "connect to dead.example[192.0.2.2]:25: Connection refused")
        done = self.open(GOOD)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(done).peer.host, "mx.example")

    def test_cancelled(self) -> None:
        """An attempt that is cancelled leaves nothing behind."""
        done = self.open(SILENT)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
