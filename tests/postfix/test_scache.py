"""Sessions shared through scache(8): a fake one, and real descriptors."""

import os
import socket
from functools import partial
from select import select
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.dialog import PEER
from tests.kit.limits import SECONDS
from tests.kit.messages import make_request
from tests.kit.private_reactor import PrivateReactor
from tests.kit.scache import FakeScache
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.delivery.cache import Lent, Place, PoolLimits, SessionPool
from twisted_mta.delivery.cache_keys import DestinationKey, EndpointKey, KeyRules
from twisted_mta.delivery.dial import Dialer, DialSettings
from twisted_mta.delivery.factory import SessionParts, adopt
from twisted_mta.interfaces import IConnectionCache
from twisted_mta.ipc.client import PersistentClient, Service
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model import events
from twisted_mta.model.events import Event
from twisted_mta.postfix.scache import DescriptorLink, ScacheClient, SharedCache, key_fields
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.session import Session
from twisted_mta.smtp.capabilities import Feature, parse_ehlo
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.workarounds import PixWorkarounds
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.state import TlsState

SERVER = Candidate("c.test", "10.0.0.1", 25, Family.IPV4)
PLACE = Place("c.test", SERVER, True)
HERE = EndpointKey("smtp\n10.0.0.1\n25\n0\n")
NAME = DestinationKey("smtp\nc.test\n")
WELCOME = Welcome(parse_ehlo("250-mx\n250-PIPELINING\n250-SIZE 100\n250 DSN"), PixWorkarounds(disable_esmtp=True))
DAY = 86400


def _has_input(end: socket.socket) -> bool:
    return bool(select([end], [], [], 0)[0])


class SharedCacheTests(SynchronousTestCase):
    """A cache, its scache(8), and the other ends of the connections that are kept there."""

    def setUp(self) -> None:
        """Start everything."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        self.events: list[Event] = []
        self.ends: list[socket.socket] = []
        self.scache = FakeScache(self.reactor)
        self.addCleanup(self.settle)
        self.addCleanup(self.scache.close)
        self.parts = SessionParts(
            DialogSettings(),
            TimeLimits(SECONDS),
            998,
            Dialer(self.reactor, DialSettings()),
            self.reactor,
            self.events.append,
        )
        self.cache = self.make(PostfixVersion(3, 9, 14))

    def make(self, version: PostfixVersion, timeout_seconds: float = 5.0) -> SharedCache:
        """A cache."""
        client = PersistentClient(
            Service("private/scache", Greeting.CONNECTION_CACHE),
            self.scache,
            version,
            self.reactor,
            timeout_seconds=timeout_seconds,
            link=DescriptorLink,
        )
        cache = SharedCache(
            ScacheClient(client, "private/scache"),
            SessionPool(self.reactor, PoolLimits(2.0)),
            version,
            partial(adopt, self.parts),
            self.reactor,
            self.events.append,
            seconds=2,
            service="smtp",
        )
        self.addCleanup(cache.close)
        return cache

    def settle(self) -> None:
        """Let what is to be closed be closed."""
        for _ in range(10):
            self.reactor.iterate(0)
        for end in self.ends:
            end.close()
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def session(self) -> Session:
        """A session with a server whose end is in `ends`."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
        self.port = ours.getpeername()[1]
        self.ends.append(theirs)
        theirs.settimeout(5)
        session = adopt(self.parts, ours)
        session.resume(WELCOME, 3, self.reactor.seconds() + DAY)
        return session

    def result(self, waiting: Any) -> Any:
        """What something comes to that may take a moment."""
        if not isinstance(waiting, Deferred):
            return waiting
        waiting = waiting.addErrback(lambda failure: failure.trap(CancelledError) and "cancelled")
        self.reactor.until(lambda: waiting.called)
        return self.successResultOf(waiting)

    def keep(self, session: Session, destination: DestinationKey | None = NAME, endpoint: EndpointKey = HERE) -> None:
        """Save a session."""
        self.assertIsNone(self.result(self.cache.keep(session, endpoint, destination, PLACE)))

    def lend(self, key: DestinationKey | EndpointKey) -> Lent | None:
        """Look for one."""
        lent: Lent | None = self.result(self.cache.lend(key))
        return lent

    def begin(self, lent: Lent | None) -> Deferred[bool]:
        """Begin with the next message."""
        assert lent is not None
        self.assertTrue(lent.session.wake(PEER, None))
        request = make_request("r@d.example", sender="s@c.example")
        content = BytesContent(b"Hello.\n")
        return Deferred.fromCoroutine(lent.session.transact(request, request.recipients, content, lambda finding: None))

    def serves(self, lent: Lent | None, end: socket.socket) -> None:
        """The server is asked, says yes, and takes a message."""
        done = self.begin(lent)
        for wanted, reply in (("RSET", "250 ok"), ("MAIL", "250 a\r\n250 b\r\n354 c"), ("Hello.", "250 d")):
            self.reactor.until(partial(_has_input, end))
            self.assertEqual(end.recv(10_000).decode()[: len(wanted)], wanted)
            end.sendall(f"{reply}\r\n".encode())
        self.assertIs(self.result(done), True)

    # ---- all is well ----

    def test_interface(self) -> None:
        """It is an IConnectionCache."""
        self.assertTrue(verifyObject(IConnectionCache, self.cache))
        self.assertTrue(self.cache.accepts)

    def test_there_and_back(self) -> None:
        """A session goes to scache(8) and comes back, with what is known of its server; it can be found by both names."""
        for key in (HERE, NAME):
            self.keep(self.session())
            lent = self.lend(key)
            assert lent is not None
            self.serves(lent, self.ends[-1])
            self.assertEqual(lent.session.reuse_count, 4)
            offered = lent.session.welcome.capabilities
            self.assertTrue(offered.offers(Feature.PIPELINING | Feature.DSN | Feature.SIZE))
            self.assertTrue(lent.session.welcome.pix.disable_esmtp)
            self.assertLess(abs((lent.session.serves_until or 0) - self.reactor.seconds() - DAY), 5)
            self.assertEqual(lent.place, PLACE if key is NAME else None)
            self.assertTrue(lent.is_as(HERE))
            self.assertIsNone(self.lend(key))
            lent.session.close()
        self.assertEqual(self.scache.connections, 1)
        self.assertEqual(self.events, [])

    def test_what_is_sent(self) -> None:
        """The destination goes first, then the session; names and properties are as smtp(8) writes them."""
        until = int(self.reactor.seconds()) + DAY
        session = self.session()
        session.serves_until = until + 0.5
        self.keep(session)
        port = socket.htons(25)
        self.assertEqual(
            self.scache.requests,
            [
                (
                    "save_dest",
                    "2",
                    "smtp\nc.test\n",
                    f"destination=c.test\nhost_name=c.test\nhost_addr=10.0.0.1\nhost_port={port}\ndestination_features=4096\n\n",
                    "smtp\n10.0.0.1\n25\n0\n",
                ),
                (
                    "save_endp",
                    "2",
                    "smtp\n10.0.0.1\n25\n0\n",
                    f"tls_level=0\nreuse_count=3\nendpoint_features=98317\nexpire_time={until}\n\n",
                ),
            ],
        )

    def test_connection_is_left_as_smtp_wants_it(self) -> None:
        """The descriptor blocks, stays open, and nobody else of us has it."""
        self.keep(self.session(), None)
        _, descriptor = self.scache.sessions[HERE.text].popleft()
        self.assertTrue(os.get_blocking(descriptor))
        os.write(descriptor, b"hello")
        self.assertEqual(self.ends[0].recv(10), b"hello")
        os.close(descriptor)
        self.assertEqual(self.ends[0].recv(10), b"")

    def test_older_version(self) -> None:
        """Postfix 3.7 does not write the port down; it is that of the connection."""
        self.cache = self.make(PostfixVersion(3, 7, 11))
        self.keep(self.session())
        lent = self.lend(NAME)
        assert lent is not None and lent.place is not None
        self.assertEqual(lent.place.candidate, Candidate("c.test", "10.0.0.1", self.port, Family.IPV4))
        lent.session.close()

    def test_tls_stays_here(self) -> None:
        """A session with TLS rests in this process, and is found first."""
        session = self.session()
        session.tls = TlsState(Level.MAY, "TLSv1.3", "any", 256, 256, True, False, False, False)
        key = EndpointKey("here", TlsPolicy(Level.MAY, connection_reuse=True))
        self.keep(session, NAME, key)
        self.assertEqual(self.scache.requests, [])
        lent = self.cache.lend(key)
        assert isinstance(lent, Lent)
        self.assertIs(lent.session, session)
        session.close()

    def test_required_tls_is_not_asked_for(self) -> None:
        """Where TLS is demanded, scache(8) cannot have anything."""
        for level in Level:
            self.scache.requests.clear()
            self.lend(EndpointKey("here", TlsPolicy(level)))
            self.assertEqual(bool(self.scache.requests), level <= Level.MAY)

    def test_names(self) -> None:
        """The names are those of the version that shares."""
        rows = {
            "3.7.11": ("smtp\nc.test\n", "smtp\n10.0.0.1\n25\n0\n"),
            "3.8.11": ("smtp\nc.test\n", "smtp\n10.0.0.1\n25\n0\n"),
            "3.8.12": ("smtp\nc.test\n0\n0\n", "smtp\n10.0.0.1\n25\n0\n0\n"),
            "3.9.5": ("smtp\nc.test\n", "smtp\n10.0.0.1\n25\n0\n"),
            "3.9.14": ("smtp\nc.test\n0\n0\n", "smtp\n10.0.0.1\n25\n0\n0\n"),
            "3.10.4": ("smtp\nc.test\n0\n", "smtp\n10.0.0.1\n25\n0\n"),
            "3.10.5": ("smtp\nc.test\n0\n0\n", "smtp\n10.0.0.1\n25\n0\n0\n"),
            "3.11.0": ("smtp\nc.test\n0\n0\n0\n", "smtp\n10.0.0.1\n25\n0\n0\n0\n"),
        }
        for version, texts in rows.items():
            rules = KeyRules("agent", fields=key_fields(PostfixVersion.parse(version), "smtp"))
            destination = rules.destination("s", "c.test", utf8=False)
            self.assertEqual((destination.text, rules.endpoint("s", "c.test", SERVER, utf8=False).text), texts, version)

    def test_shed_and_close(self) -> None:
        """What rests in this process can be shed; after the end nothing is kept, nor asked."""
        self.assertFalse(self.cache.shed())
        self.cache.close()
        self.assertFalse(self.cache.accepts)
        self.assertIsNone(self.cache.lend(HERE))
        session = self.session()
        self.keep(session)
        self.reactor.iterate(0)
        self.assertEqual(self.ends[0].recv(1), b"")
        self.assertEqual(self.scache.requests, [])

    # ---- servers ----

    def test_disturbed(self) -> None:
        """A session that its server has disturbed is not passed on."""
        for disturb in (lambda end: end.send(b"421 bye\r\n"), lambda end: end.close()):
            session = self.session()
            disturb(self.ends[-1])
            self.keep(session)
            self.assertEqual(self.scache.requests, [])
        self.ends.clear()

    def test_closed_meanwhile(self) -> None:
        """A session that was closed while scache(8) had it is found, and does not wake."""
        self.keep(self.session())
        self.ends[0].close()
        lent = self.lend(HERE)
        assert lent is not None
        self.assertFalse(lent.session.wake(PEER, None))

    # ---- scache(8) goes wrong ----

    def test_left_by_others(self) -> None:
        """What others have left and we cannot use is closed, and told."""
        rows = {
            "tls_level=0\n\n": "4 lines where 6 are due",
            "tls_level=2\nreuse_count=0\nendpoint_features=1\nexpire_time=1\n\n": "a session in the clear is none of TLS level 2",
            "tls_level=0\nreuse_count=0\nendpoint_features=4194305\nexpire_time=1\n\n": "the session goes through tlsproxy(8)",
        }
        for properties, problem in rows.items():
            problem = problem.replace("4 lines where 6", "3 lines where 6")
            self.keep(self.session())
            sessions = self.scache.sessions[HERE.text]
            _, descriptor = sessions.popleft()
            sessions.append((properties, descriptor))
            self.assertIsNone(self.lend(HERE))
            self.assertEqual(self.events, [events.ServiceConfused("private/scache", problem)])
            self.events.clear()
            self.assertEqual(self.ends[-1].recv(1), b"")

    def test_refusals(self) -> None:
        """scache(8) may refuse to keep something: then the session is closed, and that is all."""
        self.scache.fault = "refuse"
        self.keep(self.session())
        self.assertEqual(self.ends[0].recv(1), b"")
        self.assertEqual(self.events, [])
        self.assertTrue(self.cache.accepts)

    def test_faults(self) -> None:
        """Whatever goes wrong: no session, a warning, no descriptor is left open, and the next request has a new connection."""
        for fault in ("hang up", "junk", "no descriptor", "no socket", "two descriptors"):
            self.scache.fault = ""
            self.keep(self.session())
            self.scache.fault = fault
            connections = self.scache.connections
            open_before = set(os.listdir("/proc/self/fd"))
            lent = self.lend(HERE)
            if fault != "two descriptors":
                self.assertIsNone(lent, fault)
            elif lent is not None:
                lent.session.close()
            self.assertTrue(self.events or fault == "two descriptors", fault)
            self.scache.fault = ""
            self.lend(HERE)
            self.assertGreater(self.scache.connections, connections, fault)
            for _ in range(5):
                self.reactor.iterate(0)
            self.assertLessEqual(len(set(os.listdir("/proc/self/fd"))), len(open_before) + 2, fault)
            self.scache.close()
            self.cache = self.make(PostfixVersion(3, 9, 14))
            self.events.clear()

    def test_silence(self) -> None:
        """One that does not answer is waited for no longer than connection_cache_protocol_timeout."""
        self.cache = self.make(PostfixVersion(3, 9, 14), timeout_seconds=0.05)
        self.scache.fault = "silence"
        self.assertIsNone(self.lend(HERE))
        self.assertEqual(self.events, [events.ServiceConfused("private/scache", "no reply within 0.05 seconds")])
        self.keep(self.session())
        self.assertEqual(self.ends[-1].recv(1), b"")

    def test_second_failure(self) -> None:
        """A second failure, a moment later, is the last one; mail goes on without."""
        self.scache.refusal = ConnectError(111)
        self.assertIsNone(self.lend(HERE))
        self.assertIsNone(self.lend(HERE))
        self.assertTrue(self.cache.accepts, "both saw the same failure")
        begun = self.reactor.seconds()
        self.reactor.seconds = lambda: begun + 2  # time passes
        self.assertIsNone(self.lend(HERE))
        self.assertFalse(self.cache.accepts)
        self.assertEqual(self.events[-1], events.ConnectionCacheDisabled())
        told = len(self.events)
        self.scache.refusal = None
        self.assertIsNone(self.lend(HERE))
        session = self.session()
        self.keep(session)
        self.assertEqual((self.scache.connections, len(self.events)), (0, told))
        session.close()

    def test_failures_far_apart(self) -> None:
        """Failures with a success in between do not add up."""
        for _ in range(3):
            self.scache.refusal = ConnectError(111)
            self.assertIsNone(self.lend(HERE))
            self.scache.refusal = None
            self.assertIsNone(self.lend(HERE))
            begun = self.reactor.seconds()
            self.reactor.seconds = lambda begun=begun: begun + 2  # type: ignore[misc] # time passes
        self.assertTrue(self.cache.accepts)
        self.assertNotIn(events.ConnectionCacheDisabled(), self.events)

    def test_cancelled(self) -> None:
        """A delivery that is cancelled while it asks leaves nothing open."""
        self.keep(self.session())
        self.scache.fault = "silence"
        waiting = self.cache.lend(HERE)
        assert isinstance(waiting, Deferred)
        for _ in range(5):
            self.reactor.iterate(0)
        waiting.cancel()
        self.assertEqual(self.result(waiting), "cancelled")
