"""TLSA records: what counts, and for how long (RFC 6698; RFC 7672)."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.fakes import FakeDNS, Zone
from twisted_mta.model.answers import LookupResult, Search
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.tls.policy import Association
from twisted_mta.tls.tlsa import TlsaLookupError, TlsaLookups, TlsaRecords

NAME = "_25._tcp.mx.example"
TLSA = ("TLSA", NAME)


class TlsaTests(SynchronousTestCase):
    """`TlsaLookups`."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.clock = Clock()
        self.events: list[Event] = []
        self.use({})

    def use(self, zone: Zone, *, secure: bool = True, lifetime: int = 0, tells: bool = False) -> None:
        """Ask a name server with this zone, all of which is validated, or none."""
        self.dns = FakeDNS(zone, frozenset(zone) if secure else frozenset(), lifetime)
        self.lookups = TlsaLookups(self.dns, self.events.append, self.clock.seconds, tells=tells)

    def find(self, host: str = "mx.example", port: int = 25) -> TlsaRecords | None:
        """Look up."""
        return self.successResultOf(Deferred.fromCoroutine(self.lookups.find(host, port)))

    def fails(self) -> None:
        """Look up, in vain."""
        self.failureResultOf(Deferred.fromCoroutine(self.lookups.find("mx.example", 25)), TlsaLookupError)

    @property
    def lines(self) -> list[str]:
        """The log."""
        return [line_of(event, LogStyle())[1] for event in self.events]

    def test_records(self) -> None:
        """Records are asked for by port and name, and come in the order of the answer."""
        self.use({TLSA: ["3 1 1 abcd", "2 0 2 ef"], ("TLSA", "_587._tcp.mx.example"): ["3 0 1 01"]})
        both = TlsaRecords((Association(3, 1, 1, b"\xab\xcd"), Association(2, 0, 2, b"\xef")))
        self.assertEqual(self.find(), both)
        self.assertEqual(self.find(port=587), TlsaRecords((Association(3, 0, 1, b"\1"),)))
        self.assertEqual(self.dns.questions, [f"TLSA {NAME}", "TLSA _587._tcp.mx.example"])
        self.assertEqual(self.dns.options, [(True, Search.NONE)] * 2)

    def test_none(self) -> None:
        """No name, and records that were not validated, are no records."""
        self.assertEqual(self.find(), None)
        self.use({TLSA: ["3 1 1 abcd", "0 0 0 ab"]}, secure=False)
        self.assertEqual(self.find(), None)
        self.assertEqual(self.lines, [])

    def test_dropped(self) -> None:
        """What means nothing in mail is dropped and told; odd selectors and digests are left for the handshake to judge."""
        self.use(
            {
                TLSA: [
                    "4 1 1 abcd",
                    "255 1 1 ab",
                    "3 1 255 ab",
                    "3 9 9 ab",
                    "0 1 1 ab",
                    "1 1 1 " + "cd" * 65,
                    "2 0 255 ab",
                    "short 2",
                    "short 0",
                    "3 1 1",
                ]
            }
        )
        self.assertEqual(self.find(), TlsaRecords((Association(3, 9, 9, b"\xab"),)))
        self.assertEqual(
            self.lines,
            [
                f"{NAME} unsupported TLSA certificate usage: 4 1 1 ABCD",
                f"{NAME} unsupported TLSA certificate usage: 255 1 1 AB",
                f"{NAME} reserved private-use matching type: 3 1 255 AB",
                f"{NAME} unsupported TLSA certificate usage: 0 1 1 AB",
                f"{NAME} unsupported TLSA certificate usage: 1 1 1 {'CD' * 32}...{'CD' * 32}",
                f"{NAME} reserved private-use matching type: 2 0 255 AB",
                f"{NAME}: truncated TLSA RR length == 2",
                f"{NAME}: truncated TLSA RR length == 0",
                f"{NAME}: truncated TLSA RR length == 3",
            ],
        )

    def test_all_dropped(self) -> None:
        """A name with useless records alone is not a name without records."""
        self.use({TLSA: ["1 1 1 ab"]})
        self.assertEqual(self.find(), TlsaRecords(()))

    def test_told(self) -> None:
        """Where that is wanted each record that counts is told, once for an answer; the name is the one at which it stands."""
        self.use({TLSA: ["tlsa.example@3 1 1 ab", "tlsa.example@0 1 1 ab"]}, lifetime=60, tells=True)
        self.find()
        self.find()
        self.assertEqual(
            self.lines,
            [
                "DNSSEC-signed TLSA record: tlsa.example: 3 1 1 AB",
                f"{NAME} -> tlsa.example unsupported TLSA certificate usage: 0 1 1 AB",
            ],
        )

    def test_failures(self) -> None:
        """Whatever else goes wrong: nobody knows. A name that fails is asked for twice at first, once from then on."""
        for result in (LookupResult.RETRY, LookupResult.FAIL, LookupResult.INVALID, LookupResult.POLICY):
            self.use({TLSA: result})
            self.fails()
            self.assertEqual(len(self.dns.questions), 2)
            self.fails()
            self.assertEqual(len(self.dns.questions), 3)
        self.assertEqual(
            self.lines[:3],
            [
                "DANE TLSA lookup problem: Host or domain name not found. Name service error for"
                f" name={NAME} type=TLSA: Host not found, try again"
            ]
            * 3,
        )

    def test_recovery(self) -> None:
        """A failure holds for no longer than it lasts, and does not outlive an answer."""
        zone = {TLSA: LookupResult.RETRY}
        self.use(zone, lifetime=50)
        self.fails()
        self.dns.zone = {}
        self.assertEqual(self.find(), None)
        self.dns.zone = zone
        self.assertEqual(self.find(), None)
        self.clock.advance(51)
        self.fails()

    def test_lifetime(self) -> None:
        """An answer is remembered for as long as it holds, between 1 and 100 seconds, and one second more."""
        for lifetime, seconds in [(0, 2), (1, 2), (30, 31), (86400, 101)]:
            for zone in ({}, {TLSA: ["3 1 1 ab"]}):
                self.use(zone, lifetime=lifetime)
                self.find()
                self.clock.advance(seconds - 0.5)
                self.find()
                self.assertEqual(len(self.dns.questions), 1)
                self.clock.advance(0.5)
                self.find()
                self.assertEqual(len(self.dns.questions), 2)

    def test_twenty_names(self) -> None:
        """The name that nobody has asked for the longest makes room."""
        self.use({}, lifetime=60)
        for number in (*range(20), 0, 20, 0):
            self.find(f"mx{number}.example")
        self.assertEqual(len(self.dns.questions), 21)
        self.find("mx1.example")
        self.assertEqual(len(self.dns.questions), 22)
