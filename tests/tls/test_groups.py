"""Key exchange groups."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import EngineBench, policy
from twisted_mta.model.events import Event
from twisted_mta.model.tls_events import TlsGroupsUnusable, TlsGroupUnknown
from twisted_mta.tls.groups import DEFAULT_GROUPS, usable_groups


class GroupTests(SynchronousTestCase):
    """`usable_groups`."""

    def setUp(self) -> None:
        """Hear what is told."""
        self.told: list[Event] = []

    def test_defaults(self) -> None:
        """The library can do all groups of the defaults; what is not configured is the library's choice."""
        self.assertEqual(usable_groups(DEFAULT_GROUPS, self.told.append), ":".join(DEFAULT_GROUPS))
        self.assertEqual(usable_groups((), self.told.append), "")
        self.assertEqual(self.told, [])

    def test_unknown(self) -> None:
        """A group that nobody has heard of is told, one that is known but cannot be used is not; the others count."""
        self.assertEqual(usable_groups(("nonsense", "X25519", "DES-CBC", "P-256"), self.told.append), "X25519:P-256")
        self.assertEqual(self.told, [TlsGroupUnknown("nonsense")])

    def test_none_left(self) -> None:
        """Where none can be used, Postfix's own are."""
        self.assertEqual(usable_groups(("DES-CBC",), self.told.append), ":".join(DEFAULT_GROUPS))
        self.assertEqual(
            self.told,
            [
                TlsGroupsUnusable("none of the configured key exchange groups are supported"),
                TlsGroupsUnusable("using Postfix default key exchange groups instead"),
            ],
        )
        self.told.clear()
        self.assertEqual(usable_groups(("nonsense",), self.told.append), ":".join(DEFAULT_GROUPS))
        self.assertEqual(
            self.told,
            [
                TlsGroupUnknown("nonsense"),
                TlsGroupsUnusable("no configured key exchange group - OpenSSL requires at least one"),
                TlsGroupsUnusable("using Postfix default key exchange groups instead"),
            ],
        )

    def test_offered(self) -> None:
        """The groups of both parameters are offered, in order, and the line tells which was agreed on."""
        cases = {
            "X25519": "X25519",
            "X448": "X448",
            "prime256v1": "ECDHE (prime256v1)",
            "secp384r1": "ECDHE (secp384r1)",
            "secp521r1": "ECDHE (secp521r1)",
            "ffdhe2048": "DHE (2048 bits)",
            "X25519MLKEM768": "X25519MLKEM768",
        }
        for group, words in cases.items():
            curves, finite = ("", group) if group.startswith("ffdhe") else (group, "")
            bench = EngineBench(tls_eecdh_auto_curves=curves, tls_ffdhe_auto_groups=finite)
            _, state = bench.shake(TlsServer(shared_pki()["valid"]), policy())
            self.assertTrue(state.details.startswith(f" key-exchange {words}"), state.details)
