"""Contexts of OpenSSL, by shape of policy."""

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_server import TlsServer, shake_hands
from twisted_mta.tls.contexts import Contexts, ShapeError
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import Connection

LISTS = {"high": "HIGH", "medium": "aNULL:HIGH:MEDIUM", "odd": "nonsense", "leveled": "HIGH:@SECLEVEL=2"}
DEFAULTS = {"plain": "DEFAULT", "leveled": "DEFAULT@SECLEVEL=2"}


class ContextTests(SynchronousTestCase):
    """`Contexts`."""

    def setUp(self) -> None:
        """Room for two."""
        self.examined: list[bool] = []
        self.contexts = Contexts(LISTS, "X25519", 0x40000000, self.prepare, limit=2)

    def prepare(self, context: SSL.Context, examined: bool) -> None:
        """Keep what is told of a context."""
        self.examined.append(examined)

    def test_made_once(self) -> None:
        """A shape is made once, however many policies have it; levels make no difference in what they share."""
        shape = self.contexts.shape(Level.MAY, ">=TLSv1", "high", "")
        self.assertIs(self.contexts.shape(Level.ENCRYPT, ">=TLSv1", "high", ""), shape)
        self.assertIsNot(self.contexts.shape(Level.VERIFY, ">=TLSv1", "high", ""), shape)
        self.assertIsNot(self.contexts.shape(Level.MAY, ">=TLSv1", "high", "", examined=False), shape)
        self.assertEqual(self.examined, [True, True, False])

    def test_bound(self) -> None:
        """Beyond the limit, the shape that was used longest ago is made anew when it is needed again."""
        first = self.contexts.shape(Level.MAY, "", "high", "")
        second = self.contexts.shape(Level.MAY, "", "medium", "")
        self.assertIs(self.contexts.shape(Level.MAY, "", "high", ""), first)
        self.contexts.shape(Level.MAY, "", "high", "MD5")
        self.assertIs(self.contexts.shape(Level.MAY, "", "high", ""), first)
        self.assertIsNot(self.contexts.shape(Level.MAY, "", "medium", ""), second)

    def test_ciphers(self) -> None:
        """Anonymous ciphers are offered where anything goes, not where the server must prove who it is."""
        below, above = (self.contexts.shape(level, "", "medium", "") for level in (Level.ENCRYPT, Level.FINGERPRINT))
        self.assertEqual(below.ciphers, "aNULL:HIGH:MEDIUM")
        client = Connection(below.context)
        shake_hands(client, TlsServer().accept())
        self.assertIsNone(client.get_peer_certificate())
        self.assertRaises(SSL.Error, shake_hands, Connection(above.context), TlsServer().accept())

    def test_default_ciphers(self) -> None:
        """The library's own list can be meant, with a security level or without."""
        contexts = Contexts(DEFAULTS, "", 0, self.prepare)
        for grade in DEFAULTS:
            for level in (Level.MAY, Level.ENCRYPT, Level.VERIFY):
                client = Connection(contexts.shape(level, "<=TLSv1.2", grade, "").context)
                shake_hands(client, TlsServer(shared_pki()["valid"]).accept())
                self.assertIsNotNone(client.get_peer_certificate())

    def test_options(self) -> None:
        """The options of all contexts, and those that turn versions off."""
        shape = self.contexts.shape(Level.MAY, "!TLSv1.1", "high", "")
        self.assertEqual(shape.context.set_options(0) & 0x50000000, 0x50000000)

    def test_problems(self) -> None:
        """Each kind of nonsense in a policy has its words; where the library is the one who knows, its words, too."""
        cases = {
            ("what", "high", ""): 'Invalid TLS protocol list "what": aborting TLS session',
            ("", "Top", ""): 'invalid cipher grade: "Top"',
            ("", "high", "-MD5"): "invalid unary '!+-@' in cipher exclusion: -MD5",
            ("", "odd", ""): 'error setting cipher grade: "odd"',
        }
        for (protocols, grade, exclusions), problem in cases.items():
            error = self.assertRaises(ShapeError, self.contexts.shape, Level.MAY, protocols, grade, exclusions)
            self.assertEqual(error.problem, problem)
        self.assertEqual(error.errors, ((0x0A0000B9, "SSL routines", "no cipher match", ""),))

    def test_odd_limits(self) -> None:
        """A version that the library does not have is remarked on, and is no limit."""
        shape = self.contexts.shape(Level.MAY, ">=0399 <=9999999", "high", "")
        self.assertEqual(
            shape.remarks,
            ("error setting minimum TLS version to: 0x0399", "error setting maximum TLS version to: 0x9999999"),
        )
