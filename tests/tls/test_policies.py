"""Policies for servers: what is remembered, local sockets, wrapper mode, what is said once."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import asking, inline_table, reached
from twisted_mta.config.errors import ConfigError
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import NO_TLS

BAD_SETTINGS = "4.7.5 client TLS configuration problem"


class TlsPoliciesTests(SynchronousTestCase):
    """`TlsPolicies`."""

    def test_uses_tls(self) -> None:
        """TLS is used if the level, or a table, may say so; wrapper mode has to be looked at, too."""
        self.assertFalse(asking().policies.uses_tls)
        self.assertFalse(asking("lmtp", smtp_tls_security_level="may").policies.uses_tls)
        for values in (
            {"smtp_tls_security_level": "may"},
            {"smtp_use_tls": "yes"},
            {"smtp_tls_policy_maps": "static:none"},
            {"smtp_tls_per_site": "static:none"},
            {"smtp_tls_wrappermode": "yes"},
        ):
            self.assertTrue(asking(values=values).policies.uses_tls)

    def test_nothing_asked(self) -> None:
        """Without TLS there is nothing to ask and nothing to say."""
        world = asking()
        self.assertIs(world.policy(), NO_TLS)
        self.assertEqual((world.dns.questions, world.events), ([], []))

    def test_unknown_loglevel(self) -> None:
        """What is wrong with smtp_tls_loglevel is said here, as it is by the engine, if there is TLS."""
        warning = 'warning: unknown smtp_tls_loglevel value "loud" in "loud"'
        for level, lines in ((Level.MAY, [warning]), (Level.NONE, [])):
            world = asking(smtp_tls_security_level=level.word, smtp_tls_loglevel="loud")
            self.assertEqual((world.policy().level, world.lines), (level, lines))

    def test_both_kinds_of_tables(self) -> None:
        """The obsolete tables do not count where there are others, are not even opened, and that is said once."""
        world = asking(
            smtp_tls_policy_maps=inline_table({"other.example": "may"}), smtp_tls_per_site="nosuch:static:MUST"
        )
        for _ in range(2):
            self.assertEqual(world.policy().level, Level.NONE)
            world.next_request()
        self.assertEqual(world.lines, ["warning: smtp_tls_per_site ignored when smtp_tls_policy_maps is not empty."])

    def test_bad_table(self) -> None:
        """A table whose name makes no sense is found when the configuration is loaded."""
        for name in ("smtp_tls_policy_maps", "smtp_tls_per_site"):
            with self.assertRaises(ConfigError):
                asking(values={name: "no-colon"})


class RequestTests(SynchronousTestCase):
    """`RequestPolicies`."""

    def test_remembered(self) -> None:
        """Within a request a server's policy, or error, is found once for all of its addresses; an error is told for each."""
        world = asking(smtp_tls_policy_maps=inline_table({"dest.example": "strict", "[b.example]": "may"}))
        for address in ("192.0.2.1", "192.0.2.2"):
            self.assertEqual(world.problem(reached(address=address)), BAD_SETTINGS)
        told = "warning: TLS policy lookup for dest.example/mx.example: client TLS configuration problem"
        self.assertEqual(world.lines[1:], [told, told])
        self.assertIs(world.policy(reached("[b.example]")), world.policy(reached("[b.example]", address="192.0.2.2")))
        world.next_request()
        self.assertEqual(world.problem(), BAD_SETTINGS)
        self.assertEqual(len(world.lines), 5)

    def test_remembered_by(self) -> None:
        """Destination, host and port make the difference."""
        world = asking(smtp_tls_security_level="may", smtp_tls_servername="hostname")
        first = world.policy(reached())
        self.assertIs(world.policy(reached()), first)
        self.assertIsNot(world.policy(reached(host="mx2.example")), first)
        self.assertIsNot(world.policy(reached("dest.example:26")), first)
        self.assertIsNot(world.policy(reached("[dest.example]")), first)

    def test_twenty(self) -> None:
        """Only so many are remembered: who was not asked for the longest is forgotten."""
        world = asking(smtp_tls_security_level="may")
        first, second = world.policy(reached(host="mx0.example")), world.policy(reached(host="mx1.example"))
        for number in range(2, 20):
            world.policy(reached(host=f"mx{number}.example"))
        self.assertIs(world.policy(reached(host="mx0.example")), first)
        world.policy(reached(host="mx20.example"))
        self.assertIs(world.policy(reached(host="mx0.example")), first)
        self.assertIsNot(world.policy(reached(host="mx1.example")), second)


class WrapperModeTests(SynchronousTestCase):
    """smtp_tls_wrappermode, which needs level encrypt at least."""

    def test_level_too_low(self) -> None:
        """Each address is told; the reason of the mail stays what it was."""
        for level in ("none", "may", ""):
            world = asking(smtp_tls_wrappermode="yes", smtp_tls_security_level=level)
            for _ in range(2):
                self.assertEqual(world.problem(), "")
            line = 'warning: smtp_tls_wrappermode requires "smtp_tls_security_level = encrypt" (or stronger)'
            self.assertEqual(world.lines, [line, line])

    def test_enough(self) -> None:
        """Level encrypt will do."""
        world = asking(smtp_tls_wrappermode="yes", smtp_tls_security_level="encrypt")
        self.assertEqual(world.policy().level, Level.ENCRYPT)

    def test_dane_without_records(self) -> None:
        """What counts is what has become of the level."""
        world = asking(smtp_tls_wrappermode="yes", smtp_tls_security_level="dane", smtp_dns_support_level="dnssec")
        self.assertEqual(world.problem(reached(secure=True)), "")

    def test_lmtp(self) -> None:
        """LMTP names its own parameters."""
        world = asking("lmtp", lmtp_tls_wrappermode="yes")
        self.assertEqual(world.problem(), "")
        self.assertEqual(
            world.lines,
            ['warning: lmtp_tls_wrappermode requires "lmtp_tls_security_level = encrypt" (or stronger)'],
        )

    def test_unusable_comes_first(self) -> None:
        """A policy that is wrong has a reason of its own."""
        world = asking(smtp_tls_wrappermode="yes", smtp_tls_policy_maps="fail:x")
        self.assertEqual(world.problem(), BAD_SETTINGS)


class SocketTests(SynchronousTestCase):
    """Local sockets of LMTP."""

    socket = reached("unix:private/socket", lmtp=True)
    warning = (
        "warning: smtp_connect_local: opportunistic TLS encryption is not appropriate for unix-domain destinations."
    )

    def test_opportunistic(self) -> None:
        """Level may means none."""
        world = asking("lmtp", lmtp_tls_security_level="may")
        self.assertIs(world.policy(self.socket), NO_TLS)
        self.assertEqual(world.lines, [self.warning])

    def test_mandatory(self) -> None:
        """Other levels hold; the path is the key of tables, our own name that of the server and of the domain."""
        world = asking(
            "lmtp",
            lmtp_tls_policy_maps=inline_table({"private/socket": "secure match=nexthop servername=nexthop"}),
        )
        policy = world.policy(self.socket)
        self.assertEqual(
            (policy.level, policy.nexthop, policy.servername), (Level.SECURE, "client.example", "client.example")
        )

    def test_no_parents(self) -> None:
        """A path has no parents."""
        world = asking("lmtp", lmtp_tls_policy_maps=inline_table({".socket": "encrypt", "socket.x": "encrypt"}))
        self.assertEqual(world.policy(reached("unix:/a/socket.x", lmtp=True)).level, Level.NONE)

    def test_unusable(self) -> None:
        """What is wrong is told by our name and the path."""
        world = asking("lmtp", lmtp_tls_per_site=inline_table({"client.example": "foo"}))
        self.assertEqual(world.problem(self.socket), BAD_SETTINGS)
        self.assertEqual(
            world.lines,
            [
                "warning: lmtp_tls_per_site: unknown TLS policy 'foo' for server hostname client.example",
                "warning: TLS policy lookup error for client.example/private/socket: client TLS configuration problem",
            ],
        )

    def test_wrapper_mode(self) -> None:
        """In wrapper mode there is TLS also at level may, after the warning; at level none that is refused."""
        world = asking("lmtp", lmtp_tls_security_level="may", lmtp_tls_wrappermode="yes")
        self.assertEqual(world.policy(self.socket).level, Level.ENCRYPT)
        self.assertEqual(world.lines, [self.warning])
        world = asking("lmtp", lmtp_tls_wrappermode="yes")
        self.assertEqual(world.problem(self.socket), "")
        world = asking("lmtp", lmtp_tls_security_level="encrypt", lmtp_tls_wrappermode="yes")
        self.assertEqual(world.policy(self.socket).level, Level.ENCRYPT)
