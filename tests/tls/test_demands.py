"""What a policy demands of a server in the end; the lines are those of Postfix."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.tls.judging import PEER, QUIET, SERVER, associated, line
from twisted_mta.model.events import Event
from twisted_mta.tls.demands import Demands, demands_of
from twisted_mta.tls.levels import Level
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.names import References
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.rules import VerificationRules

UNUSABLE = (Association(3, 1, 9, b"\0\x11\x22\x33"), Association(3, 0, 0, b"\0\x11\x22\x33"))
UNUSABLE_LINES = [
    f"warning: {SERVER}: unusable TLSA RR: 3 0 0 00112233",
    f"warning: {SERVER}: unusable TLSA RR: 3 1 9 00112233",
]


def demanded(policy: TlsPolicy, rules: VerificationRules = QUIET) -> tuple[Demands, list[str]]:
    """What is demanded, and what was told."""
    told: list[Event] = []
    demands = demands_of(policy, PEER, rules, told.append)
    hash(demands)  # a part of the keys of sessions
    return demands, [line(event) for event in told]


class DemandTests(SynchronousTestCase):
    """`demands_of`."""

    def test_opportunistic(self) -> None:
        """At levels that demand no proof nothing is demanded, and the log says why only if that is wanted."""
        for level in (Level.MAY, Level.ENCRYPT):
            demands, told = demanded(TlsPolicy(level, matches=("hostname",)))
            self.assertEqual((demands, told), (Demands(level, SERVER, examined=False), []))
            rules = VerificationRules(LogClass.UNTRUSTED)
            self.assertEqual(demanded(TlsPolicy(level), rules)[0], Demands(level, SERVER, tells_why=True))
            rules = VerificationRules(LogClass.CERTMATCH)
            self.assertEqual(demanded(TlsPolicy(level), rules)[0], Demands(level, SERVER))

    def test_names(self) -> None:
        """At levels verify and secure the match list makes the names."""
        policy = TlsPolicy(Level.SECURE, matches=("nexthop", "dot-nexthop", "hostname"), nexthop="dest.example")
        demands, told = demanded(policy)
        self.assertEqual(demands.references, References((b"dest.example", b".dest.example", b"mx1.dest.example")))
        self.assertEqual((demands.must_fail, demands.tells_why, demands.ignores_authorities), (False, True, False))
        self.assertEqual(told, [])

    def test_no_name(self) -> None:
        """Without a name that can be used nothing will do."""
        demands, told = demanded(TlsPolicy(Level.VERIFY, matches=(".",)))
        self.assertTrue(demands.must_fail and demands.ignores_authorities)
        self.assertEqual(
            told,
            [
                f'warning: {SERVER}: ignoring invalid match name: "."',
                f"warning: {SERVER}: could not configure peer name checks",
            ],
        )

    def test_trust_anchors(self) -> None:
        """Trust anchors take the place of authorities; without a usable one nothing will do."""
        anchors = (associated(shared_pki().root, 2, 0), associated(shared_pki().root, 3, 0))
        demands, told = demanded(TlsPolicy(Level.VERIFY, matches=("hostname",), trust_anchors=anchors))
        self.assertEqual((demands.associations, told), (anchors[::-1], []))
        self.assertTrue(demands.names_of_leaf and demands.ignores_authorities and not demands.must_fail)
        demands, told = demanded(TlsPolicy(Level.VERIFY, matches=("hostname",), trust_anchors=UNUSABLE))
        last = f"warning: {SERVER}: all trust anchors unusable"
        self.assertEqual((demands.must_fail, told), (True, [*UNUSABLE_LINES, last]))

    def test_records(self) -> None:
        """At DANE levels the usable records count, the best of them, and names where an authority signed."""
        valid = shared_pki()["valid"]
        records = (associated(valid, 3, 1, 1), associated(valid, 3, 1, 2), *UNUSABLE)
        for level in (Level.HALF_DANE, Level.DANE, Level.DANE_ONLY):
            demands, told = demanded(TlsPolicy(level, associations=records, dane_names=("a.example", "b.example")))
            self.assertEqual((demands.level, demands.associations, told), (level, (records[1],), UNUSABLE_LINES))
            self.assertEqual(demands.references, References((b"a.example", b"b.example")))
            self.assertTrue(demands.tells_why and not demands.names_of_leaf and not demands.must_fail)

    def test_no_usable_record(self) -> None:
        """Without a usable record dane is encrypt, dane-only cannot be met."""
        for level in (Level.HALF_DANE, Level.DANE):
            demands, told = demanded(TlsPolicy(level, associations=UNUSABLE, dane_names=("a.example",)))
            self.assertEqual(demands, Demands(Level.ENCRYPT, SERVER, tells_why=True))
            last = f"warning: {SERVER}: all TLSA records unusable, fallback to unauthenticated TLS"
            self.assertEqual(told, [*UNUSABLE_LINES, last])
        demands, told = demanded(TlsPolicy(Level.DANE_ONLY, associations=UNUSABLE, dane_names=("a.example",)))
        self.assertEqual(demands, Demands(Level.DANE_ONLY, SERVER, must_fail=True, tells_why=True))
        self.assertEqual(told, [*UNUSABLE_LINES, f"warning: {SERVER}: all TLSA records unusable"])

    def test_fingerprints(self) -> None:
        """Each fingerprint is that of a certificate or of a key; those of another length cannot be met."""
        good = "ab" * 32
        demands, told = demanded(TlsPolicy(Level.FINGERPRINT, matches=(good, "aabb")))
        self.assertEqual(len(demands.associations), 2)
        self.assertFalse(demands.must_fail or demands.references)
        unusable = [f"warning: {SERVER}: unusable TLSA RR: 3 {selector} 255 AABB" for selector in (1, 0)]
        self.assertEqual(told, unusable)
        demands, told = demanded(TlsPolicy(Level.FINGERPRINT, matches=("aabb",)))
        self.assertTrue(demands.must_fail)
        self.assertEqual(told, [*unusable, f"warning: {SERVER}: all fingerprints unusable"])
