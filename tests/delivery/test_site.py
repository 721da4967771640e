"""The servers of a destination, one after the other."""

from errno import ECONNRESET
from types import MappingProxyType

from tests.delivery.test_deliver import FIRST, OK, ONE, REFUSED, SECOND, TWO, DeliverTestCase, hosts, mx, script
from tests.kit.engine import Engine
from tests.kit.network import NEVER, Unreachable
from twisted_mta.model.result import FinalStatus
from twisted_mta.routing.candidates import Family
from twisted_mta.session.session import TlsTerms


class WalkTests(DeliverTestCase):
    """From host to host."""

    def test_connection_refused(self) -> None:
        """The only host refuses: a bare log line, and everybody is deferred without relay."""
        reason = f"connect to h2.test[10.0.0.2]:25: {REFUSED}"
        engine = self.deliver(Engine({}, ONE), reason, f"a@d.test none 4.4.1 deferred ({reason})")
        self.assertEqual(self.hop(engine), f"4.4.1 {reason}")

    def test_time_limit_of_connect(self) -> None:
        """A host that does not answer is given up after smtp_connect_timeout."""
        engine = Engine({FIRST: NEVER, SECOND: script()}, TWO)
        engine.start("a@d.test", nexthop="d.test")
        engine.wait(29)
        self.assertEqual(engine.log, [])
        engine.wait(1)
        self.assertEqual(engine.log[0], "connect to h2.test[10.0.0.2]:25: Connection timed out")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_rebuff_and_next_host(self) -> None:
        """A greeting with 5xx is followed by QUIT, and the next host gets the message."""
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", "554 5.7.1 go away")), SECOND: script()}, TWO),
            "4Abc12: host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.commands(FIRST), [["QUIT"]])
        self.assertEqual(engine.status, FinalStatus(True))

    def test_reset_while_connecting(self) -> None:
        """A reset that the system reports as a failed connect is such a session, too."""
        reason = "lost connection with h2.test[10.0.0.2] while receiving the initial server greeting"
        engine = self.deliver(
            Engine({FIRST: Unreachable(ECONNRESET), SECOND: script()}, TWO),
            f"4Abc12: {reason}",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.status, FinalStatus(True))
        self.deliver(
            Engine({FIRST: Unreachable(ECONNRESET)}, ONE), f"a@d.test h2.test[10.0.0.2]:25 4.4.2 deferred ({reason})"
        )

    def test_reset_in_wrapper_mode(self) -> None:
        """Where TLS begins at once it is the handshake that the reset meets."""
        engine = Engine({FIRST: Unreachable(ECONNRESET)}, ONE, tls=TlsTerms(wrapper=True))
        self.deliver(
            engine,
            "SSL_connect error to h2.test[10.0.0.2]:25: Connection reset by peer",
            "a@d.test h2.test[10.0.0.2]:25 4.7.5 deferred (Cannot start TLS: handshake failure)",
        )

    def test_session_limit(self) -> None:
        """smtp_mx_session_limit hosts are asked; the last of these defers, and others are never contacted."""
        four = mx("d.test", "h2", "h1", "h3", "h4")
        grey = "450 4.2.0 grey"
        servers = {f"10.0.0.{number}": script(("RCPT", grey)) for number in range(1, 5)}
        engine = self.deliver(
            Engine(servers, four),
            f"4Abc12: host h2.test[10.0.0.2] said: {grey} (in reply to RCPT TO command)",
            f"a@d.test h1.test[10.0.0.1]:25 4.2.0 deferred (host h1.test[10.0.0.1] said: {grey} (in reply to RCPT TO command))",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND])
        self.assertEqual(self.hop(engine), "")

    def test_session_limit_with_fallback(self) -> None:
        """With a fallback relay both keep, and the fallback is asked, with a count of its own."""
        four = {**mx("d.test", "h2", "h1", "h3"), **hosts("h9")}
        servers = {f"10.0.0.{number}": script(("RCPT", "450 4.2.0 grey")) for number in range(1, 4)}
        engine = self.deliver(
            Engine({**servers, "10.0.0.9": script()}, four, fallback_relay="[h9.test]"),
            "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            "4Abc12: host h1.test[10.0.0.1] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            f"a@d.test h9.test[10.0.0.9]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND, "10.0.0.9"])

    def test_rebuffs_do_not_count_as_sessions(self) -> None:
        """A server that refuses to talk takes no other one's place."""
        three = mx("d.test", "h2", "h1", "h3")
        engine = Engine(
            {FIRST: script(("CONNECT", "421 no")), SECOND: script(("CONNECT", "421 no")), "10.0.0.3": script()}, three
        )
        self.assertEqual(engine.deliver("a@d.test", nexthop="d.test"), FinalStatus(True))

    def test_address_limit(self) -> None:
        """smtp_mx_address_limit addresses are tried; those that refuse count."""
        names = [f"h{number}" for number in range(1, 9)]
        engine = Engine({"10.0.0.8": script()}, mx("d.test", *names), address_limit=3)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.dialer.dialled, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.assertIn("none 4.4.1 deferred (connect to h3.test[10.0.0.3]:25", engine.log[-1])


class BindTests(DeliverTestCase):
    """The local address (postconf(5) smtp_bind_address)."""

    BIND = MappingProxyType({Family.IPV4: "10.0.0.77"})

    def test_bound(self) -> None:
        """An address of this machine is used."""
        engine = Engine({FIRST: script()}, ONE, bind=self.BIND)
        engine.dialer.local_addresses.add("10.0.0.77")
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.dialer.dialled, ["10.0.0.77 to 10.0.0.2"])

    def test_not_there(self) -> None:
        """One that is not is told, and done without."""
        self.deliver(
            Engine({FIRST: script()}, ONE, bind=self.BIND),
            "warning: smtp_connect_addr: bind 10.0.0.77: Cannot assign requested address",
            f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
        )

    def test_enforced(self) -> None:
        """With smtp_bind_address_enforce the next host is tried, in vain, too."""
        warning = "warning: smtp_connect_addr: bind 10.0.0.77: Cannot assign requested address"
        self.deliver(
            Engine({FIRST: script(), SECOND: script()}, TWO, bind=self.BIND, bind_enforced=frozenset(self.BIND)),
            warning,
            "server configuration error",
            warning,
            "server configuration error",
            "a@d.test none 4.4.0 deferred (server configuration error)",
        )

    def test_malformed(self) -> None:
        """A malformed one defers everything, without a try."""
        problem = "smtp_connect_addr: bad smtp_bind_address parameter: x: Name or service not known"
        engine = self.deliver(
            Engine({FIRST: script(), SECOND: script()}, TWO, bind_problem={Family.IPV4: problem}),
            f"a@d.test none 4.3.5 deferred ({problem})",
        )
        self.assertEqual(self.hop(engine), f"4.3.5 {problem}")
        self.assertEqual(engine.dialer.dialled, [])
