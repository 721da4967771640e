"""Which sessions are kept for other deliveries, and which of those may be used."""

from collections.abc import Mapping
from errno import EMFILE
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.test_deliver import mx, script
from tests.kit.engine import Engine
from tests.kit.network import Host
from twisted_mta.delivery.dial import dial_error
from twisted_mta.delivery.reuse import KeptWalk
from twisted_mta.interfaces import TableError
from twisted_mta.model.request import RequestFlags, SmtpUtf8
from twisted_mta.routing.candidates import Candidate, Family

LOAD, STORE = RequestFlags.CONN_LOAD, RequestFlags.CONN_STORE
PLAIN = RequestFlags.SUCCESS
OK = "250 2.0.0 Ok: queued"
ONE = mx("d.test", "h2")
TWO = mx("d.test", "h2", "h1")
FIRST, SECOND = "10.0.0.2", "10.0.0.1"
LISTED: Mapping[str, Any] = {"listed": lambda name: name in ("d.test", "e.test", "public/x")}
ENVELOPE = ["MAIL FROM:<sender@client.example> SIZE=49 BODY=7BIT", "RCPT TO:<a@d.test>", "DATA", "."]
MESSAGE = ["RSET", *ENVELOPE]


class ReuseTestCase(SynchronousTestCase):
    """Messages to d.test, one after the other."""

    def engine(self, hosts: Mapping[str, Host], zone: Any = ONE, **how: Any) -> Engine:
        """An engine that keeps sessions with d.test."""
        return Engine(hosts, zone, **{"reuse": LISTED, **how})

    def send(self, engine: Engine, *names: str, **changes: Any) -> list[str]:
        """Deliver a message at once; what was logged of it."""
        engine.log.clear()
        engine.deliver(*(names or ("a@d.test",)), **{"nexthop": "d.test", **changes})
        return list(engine.log)

    def conn_uses(self, engine: Engine) -> list[int]:
        """How often each result's session was in use, as in conn_use=."""
        return [result.stats.reuse_count + 1 for result in engine.reporter.results]

    def sent(self, engine: Engine, name: str = "a@d.test", relay: str = "h2.test[10.0.0.2]:25") -> str:
        """The log line of a message that was taken."""
        return f"{name} {relay} 2.0.0 sent ({OK})"


class PolicyTests(ReuseTestCase):
    """Which sessions are kept."""

    def test_listed(self) -> None:
        """A listed destination: one session for all, each message after a RSET; it ends without QUIT."""
        engine = self.engine({FIRST: script()})
        for _ in range(3):
            self.assertEqual(self.send(engine), [self.sent(engine)])
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", *ENVELOPE, *MESSAGE, *MESSAGE]])
        self.assertEqual(self.conn_uses(engine), [1, 2, 3])
        engine.wait(2)
        self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)
        self.assertEqual(engine.clock.getDelayedCalls(), [])

    def test_not_listed(self) -> None:
        """Another one has a session for each message, and no more is asked of it."""
        engine = self.engine({FIRST: script()}, mx("other.test", "h2"), reuse={**LISTED, "on_demand": False})
        flags = PLAIN | LOAD | STORE
        for _ in range(2):
            self.send(engine, "a@other.test", nexthop="other.test", flags=flags)
        self.assertEqual([session[-1] for session in engine.commands(FIRST)], ["QUIT", "QUIT"])
        self.assertEqual(engine.clock.getDelayedCalls(), [])

    def test_list_that_cannot_be_asked(self) -> None:
        """Where nobody can tell whether it is listed, it is not; mail goes out all the same. A list may take its time."""

        def fail(name: str) -> bool:
            raise TableError("hash:x", "cannot be read")

        for listed, sessions in ((fail, 2), (lambda name: succeed(True), 1)):
            engine = self.engine({FIRST: script()}, reuse={"listed": listed})
            for _ in range(2):
                self.assertEqual(self.send(engine), [self.sent(engine)])
            self.assertEqual(len(engine.commands(FIRST)), sessions)

    def test_on_demand(self) -> None:
        """The queue manager says with each request whether a session may be left, and used."""
        rows = [
            ((STORE, LOAD | STORE, LOAD), 1),
            ((STORE, STORE), 2),
            ((LOAD, LOAD), 2),
            ((STORE, RequestFlags(0), LOAD), 2),
        ]
        for flags, sessions in rows:
            engine = self.engine({FIRST: script()}, reuse={})
            for flag in flags:
                self.send(engine, flags=PLAIN | flag)
            self.assertEqual(len(engine.commands(FIRST)), sessions, flags)
        self.assertEqual(self.conn_uses(engine), [1, 1, 2])

    def test_last_of_several(self) -> None:
        """A session that was found, in a request that leaves none, is ended with QUIT."""
        engine = self.engine({FIRST: script()}, reuse={})
        self.send(engine, flags=PLAIN | STORE)
        self.send(engine, flags=PLAIN | LOAD)
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", *ENVELOPE, *MESSAGE, "QUIT"]])

    def test_off(self) -> None:
        """With on-demand caching off, and no list, nothing is kept."""
        engine = self.engine({FIRST: script()}, reuse={"on_demand": False})
        self.send(engine, flags=PLAIN | STORE)
        self.assertEqual(engine.commands(FIRST)[0][-1], "QUIT")

    def test_age(self) -> None:
        """A session that is older than smtp_connection_reuse_time_limit serves once more, and ends with QUIT."""
        engine = self.engine({FIRST: script()}, reuse={**LISTED, "age_seconds": 1})
        self.send(engine)
        engine.wait(1.5)
        self.send(engine)
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", *ENVELOPE, *MESSAGE, "QUIT"]])
        self.assertEqual(self.conn_uses(engine), [1, 2])

    def test_count(self) -> None:
        """smtp_connection_reuse_count_limit: so many more messages."""
        engine = self.engine({FIRST: script()}, reuse={**LISTED, "count_limit": 2})
        for _ in range(4):
            self.send(engine)
        self.assertEqual(self.conn_uses(engine), [1, 2, 3, 1])
        self.assertEqual(engine.commands(FIRST)[0][-1], "QUIT")

    def test_smtputf8(self) -> None:
        """A message that needs SMTPUTF8 has sessions of its own."""
        engine = self.engine({FIRST: script()})
        self.send(engine)
        self.send(engine, smtputf8=SmtpUtf8.REQUESTED | SmtpUtf8.HEADER)
        self.send(engine)
        self.assertEqual(self.conn_uses(engine), [1, 1, 2])

    def test_by_address(self) -> None:
        """Another listed destination with the same host uses its session, under the name that it knows it by."""
        zone = {**ONE, ("MX", "e.test"): ["10 alias.test"], ("A", "alias.test"): [FIRST]}
        engine = self.engine({FIRST: script()}, zone)
        self.send(engine)
        log = self.send(engine, "b@e.test", nexthop="e.test")
        self.assertEqual(log, [self.sent(engine, "b@e.test", "alias.test[10.0.0.2]:25")])
        self.assertEqual(self.conn_uses(engine), [1, 2])

    def test_after_refusals(self) -> None:
        """Refused recipients and refused content are no reason to end a session."""
        rules = (
            ("RCPT TO:<bad@", "550 5.1.1 no"),
            ("RCPT TO:<grey@", "450 4.2.0 later"),
            (".", "554 5.7.1 spam", None),
        )
        engine = self.engine({FIRST: script(*rules)})
        for name in ("bad", "grey", "a", "a"):
            self.send(engine, f"{name}@d.test")
        self.assertEqual(self.conn_uses(engine), [1, 2, 3, 4])

    def test_probe(self) -> None:
        """An address probe leaves its session to others, too."""
        engine = self.engine({FIRST: script()})
        self.send(engine, flags=PLAIN | RequestFlags.MTA_VRFY)
        self.send(engine)
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", *ENVELOPE[:2], "RSET", *MESSAGE]])

    def test_lmtp(self) -> None:
        """So does LMTP, over a local socket too, where the path is the name."""
        engine = self.engine({"public/x": script(lmtp=True)}, {}, lmtp=True)
        for _ in range(2):
            self.send(engine, nexthop="unix:public/x")
        self.assertEqual(self.conn_uses(engine), [1, 2])

    def test_descriptors_run_out(self) -> None:
        """Where descriptors have run out, those of resting sessions serve for a new connection."""
        engine = self.engine({FIRST: script(), SECOND: script()}, {**ONE, **mx("e.test", "h1")})
        self.send(engine)
        dial, full = engine.dialer.dial, [True]

        def crowded(candidate: Any, build_protocol: Any, bind_address: Any) -> Deferred[Any]:
            if full.pop() if full else False:
                raise dial_error(candidate, EMFILE)
            return dial(candidate, build_protocol, bind_address)

        engine.dialer.dial = crowded  # type: ignore[method-assign] # the system has run out of descriptors
        self.assertEqual(
            self.send(engine, "a@e.test", nexthop="e.test"), [self.sent(engine, "a@e.test", "h1.test[10.0.0.1]:25")]
        )
        self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)
        full.append(True)
        engine.pool.shed()
        reason = "cannot make a connection: Too many open files"
        self.assertEqual(self.send(engine), [reason, f"a@d.test none 4.3.0 deferred ({reason})"])


class BooksTests(SynchronousTestCase):
    """What kept sessions leave for new connections."""

    def test_books(self) -> None:
        """The books of kept sessions: what was tried is not left, what broke is as if it had not been tried."""
        first, second = (Candidate(f"h{n}.test", f"10.0.0.{n}", 25, Family.IPV4) for n in (1, 2))
        walk = KeptWalk([first, second, first], address_limit=5, session_limit=2)
        walk.take(first)
        self.assertEqual((walk.left, walk.sessions, walk.is_last), ([second], 1, False))
        walk.repeat()
        self.assertEqual((walk.left, walk.sessions), ([first, second, first], 0))
        walk.take(second)
        walk.count_session()
        self.assertEqual((walk.left, walk.is_last), ([first, first], False))
        walk.take(first)
        self.assertEqual((walk.left, walk.sessions, walk.is_last), ([], 2, True))
        limited = KeptWalk([first, second], address_limit=1, session_limit=0)
        limited.take(second)
        self.assertTrue(limited.is_last)
