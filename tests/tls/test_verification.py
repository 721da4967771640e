"""Servers that are judged; the lines are those of Postfix."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Identity, shared_pki
from tests.tls.handmade import certificate, subject_alt_name
from tests.tls.judging import HOST, PEER, QUIET, SERVER, Judged, Shown, associated, judge_by, line
from twisted_mta.model.events import Event
from twisted_mta.tls.demands import Demands
from twisted_mta.tls.faults import CallbackEvent
from twisted_mta.tls.levels import Level
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.rules import VerificationRules
from twisted_mta.tls.verification import Verdict, judge_resumed, tell_examined

VERIFY = TlsPolicy(Level.VERIFY, matches=("hostname",), nexthop="dest.example")
MATCHES = VerificationRules(LogClass.CERTMATCH)
TELLING = (LogClass.CERTMATCH, LogClass.VERBOSE, LogClass.PEERCERT)


def judged(name: str, policy: TlsPolicy = VERIFY, rules: VerificationRules = QUIET) -> Judged:
    """What comes of a handshake with one of the usual servers, by a client that knows the root."""
    pki = shared_pki()
    return judge_by(policy, Shown.by(pki[name], [pki.root]), rules)


def failed(judged: Judged) -> tuple[bool, bool, list[str]]:
    """Whether it is trusted, whether it matched, and the lines without the server's name."""
    verdict = judged.verdict
    return verdict.trusted, verdict.matched, [each.replace(f" for {SERVER}", "") for each in judged.lines]


class AuthorityTests(SynchronousTestCase):
    """Levels at which certification authorities decide."""

    def test_verify(self) -> None:
        """What is right, and everything that can be wrong; only that counts which is nearest to the server."""
        for name, words in {
            "valid": "",
            "rsa": "",
            "wildcard": "",
            "common_name_only": "",
            "wrong_name": "server certificate verification failed: num=62:hostname mismatch",
            "ip_address": "server certificate verification failed: num=62:hostname mismatch",
            "nameless": "server certificate verification failed: num=62:hostname mismatch",
            "expired": "server certificate verification failed: certificate has expired",
            "future": "server certificate verification failed: certificate not yet valid",
            "self_signed": "certificate verification failed: self-signed certificate",
            "no_intermediate": "certificate verification failed: untrusted issuer /CN=Test Intermediate",
            "not_for_servers": "certificate verification failed: not designated for use as a server certificate",
        }.items():
            good = not words
            self.assertEqual(failed(judged(name)), (good, good, [words] if words else []), name)

    def test_no_authorities(self) -> None:
        """Without authorities the top of the chain is told, but first what is wrong further down."""
        pki = shared_pki()
        found = judge_by(VERIFY, Shown.by(pki["valid"]))
        self.assertEqual(failed(found)[2], ["certificate verification failed: untrusted issuer /CN=Test Root"])
        found = judge_by(VERIFY, Shown.by(pki["wrong_name"]))
        self.assertEqual(failed(found)[2], ["server certificate verification failed: num=62:hostname mismatch"])

    def test_names_before_dates(self) -> None:
        """At the server's certificate issuers come before names, names before dates."""
        other = replace(VERIFY, matches=("other.example",))
        mismatch = "server certificate verification failed: num=62:hostname mismatch"
        self.assertEqual(failed(judged("expired", other))[2], [mismatch])
        self_signed = "certificate verification failed: self-signed certificate"
        self.assertEqual(failed(judged("self_signed", other))[2], [self_signed])
        unknown = "certificate verification failed: untrusted issuer /CN=Test Intermediate"
        self.assertEqual(failed(judged("no_intermediate", other))[2], [unknown])
        purpose = "certificate verification failed: not designated for use as a server certificate"
        self.assertEqual(failed(judged("not_for_servers", other))[2], [purpose])

    def test_addresses(self) -> None:
        """An address must match an address; with names besides, both."""
        address = replace(VERIFY, matches=("192.0.2.1",))
        self.assertEqual(failed(judged("ip_address", address)), (True, True, []))
        mismatch = "server certificate verification failed: num=64:IP address mismatch"
        self.assertEqual(failed(judged("valid", address))[2], [mismatch])
        both = replace(VERIFY, matches=("192.0.2.1", "hostname"))
        self.assertEqual(failed(judged("valid", both))[2], [mismatch])
        mismatch = "server certificate verification failed: num=62:hostname mismatch"
        self.assertEqual(failed(judged("ip_address", both))[2], [mismatch])

    def test_depth(self) -> None:
        """A chain that is too long is told with the limit."""
        pki = shared_pki()
        low = pki.issue("Low", authority=True, names=())
        leaf = pki.issue(issuer=low)
        self.assertTrue(judge_by(VERIFY, Shown.by(leaf, [pki.root], depth_limit=1)).verdict.matched)
        self.assertEqual(
            failed(judge_by(VERIFY, Shown.by(leaf, [pki.root], depth_limit=0))),
            (False, False, ["certificate verification failed: certificate chain longer than limit(1)"]),
        )

    def test_below_verify(self) -> None:
        """Where no proof is demanded names do not matter, nothing matches, and why is told only if wanted."""
        for level in (Level.MAY, Level.ENCRYPT):
            policy = TlsPolicy(level, matches=("hostname",))
            self.assertEqual(failed(judged("wrong_name", policy)), (True, False, []))
            self.assertEqual(failed(judged("expired", policy)), (False, False, []))
            wanted = VerificationRules(LogClass.UNTRUSTED)
            words = "server certificate verification failed: certificate has expired"
            self.assertEqual(failed(judged("expired", policy, wanted)), (False, False, [words]))

    def test_anonymous(self) -> None:
        """A server without a certificate."""
        for policy in (VERIFY, TlsPolicy(Level.MAY)):
            found = judge_by(policy, Shown(()))
            self.assertEqual(found.verdict, Verdict(policy.level, False, False, False))
            self.assertEqual(found.lines, [])

    def test_must_fail(self) -> None:
        """Where there is no name to match nothing helps, and nothing else is told."""
        found = judged("self_signed", replace(VERIFY, matches=(".",)))
        self.assertFalse(found.verdict.trusted or found.verdict.matched)
        forced = "server certificate verification failed for {}: num=1:unspecified certificate verification error"
        self.assertEqual(found.lines[2:], [forced.format(SERVER)])

    def test_incomplete_events(self) -> None:
        """A callback that did not come as far as the server's certificate has proved nothing."""
        shown = Shown.by(shared_pki()["valid"], [shared_pki().root])
        for events in ((), shown.events[:-1]):
            for policy in (VERIFY, TlsPolicy(Level.ENCRYPT)):
                found = judge_by(policy, Shown(shown.chain, events))
                self.assertFalse(found.verdict.trusted or found.verdict.matched)

    def test_matched(self) -> None:
        """The name that matched, and whose certificate it is; with each of three classes."""
        valid = shared_pki()["valid"]
        whose = (
            f"{SERVER}: subject_CN={HOST}, issuer=Test Intermediate,"
            f" cert fingerprint={valid.fingerprint()}, pkey fingerprint={valid.key_fingerprint()}"
        )
        for classes in TELLING:
            found = judged("valid", rules=VerificationRules(classes))
            self.assertEqual(found.lines, [f"{SERVER}: matched peername: {HOST}", whose])
            self.assertEqual(judged("valid", TlsPolicy(Level.MAY), VerificationRules(classes)).lines, [whose])
        self.assertEqual(judged("wildcard", rules=MATCHES).lines[0], f"{SERVER}: matched peername: *.dest.example")

    def test_not_matched(self) -> None:
        """First what is wrong, then whose certificate it is; no word of what matched besides."""
        first, second = judged("expired", rules=MATCHES).lines
        self.assertIn("certificate has expired", first)
        self.assertIn(f"subject_CN={HOST}", second)


class AssociationTests(SynchronousTestCase):
    """Levels at which fingerprints, TLSA records or trust anchors decide."""

    def matched(self, policy: TlsPolicy, *sent: Identity) -> list[str]:
        """The lines about what matched."""
        found = judge_by(policy, Shown.of(*sent), MATCHES)
        self.assertTrue(found.verdict.trusted and found.verdict.matched, found.lines)
        return [each.removeprefix(f"{SERVER}: ") for each in found.lines[:-1]]

    def dane(self, *records: Association, level: Level = Level.DANE_ONLY) -> TlsPolicy:
        """A policy by TLSA records."""
        return TlsPolicy(level, associations=records, dane_names=(HOST,))

    def test_fingerprint(self) -> None:
        """A fingerprint of the certificate or its key; names and dates do not matter."""
        identity = shared_pki()["expired"]
        for value in (identity.fingerprint(), identity.key_fingerprint().lower()):
            policy = TlsPolicy(Level.FINGERPRINT, matches=("ab" * 32, value))
            self.assertEqual(self.matched(policy, identity), [f"Matched fingerprint: {value.replace(':', '').upper()}"])

    def test_other_fingerprint(self) -> None:
        """No fingerprint matches, even if an authority vouches for the server."""
        words = "server certificate verification failed: num=65:no matching DANE TLSA records"
        found = judged("valid", TlsPolicy(Level.FINGERPRINT, matches=("ab" * 32,)))
        self.assertEqual(failed(found), (False, False, [words]))

    def test_server_record(self) -> None:
        """A TLSA record of the server itself; names do not matter."""
        identity = shared_pki()["wrong_name"]
        record = associated(identity, 3, 1, 1)
        self.assertEqual(
            self.matched(self.dane(record), identity),
            [f"Matched DANE EE certificate at depth 0: 3 1 1 {record.data.hex().upper()}"],
        )

    def test_authority_record(self) -> None:
        """A TLSA record of an authority, whose name must match, too."""
        pki = shared_pki()
        record, key = associated(pki.intermediate, 2, 0, 2), associated(pki.root, 2, 1)
        sent = (pki["valid"], pki.intermediate)
        digits = record.data.hex().upper()
        self.assertEqual(
            self.matched(self.dane(record), *sent),
            [f"matched peername: {HOST}", f"Matched DANE TA certificate at depth 1: 2 0 2 {digits}"],
        )
        shown = key.data.hex().upper()
        self.assertEqual(
            self.matched(self.dane(key), *sent)[1],
            f"Matched DANE TA public key verified certificate at depth 1: 2 1 0 {shown[:64]}...{shown[-64:]}",
        )
        words = "server certificate verification failed: num=62:hostname mismatch"
        found = judge_by(self.dane(record), Shown.of(pki["wrong_name"], pki.intermediate))
        self.assertEqual(failed(found), (False, False, [words]))

    def test_no_record_matches(self) -> None:
        """It is told of the server, or of the top of the chain if an authority was wanted; worse comes first."""
        pki = shared_pki()
        words = "{} certificate verification failed: num=65:no matching DANE TLSA records"
        sent = Shown.of(pki["valid"], pki.intermediate)
        found = judge_by(self.dane(associated(pki["rsa"], 3, 1, 1)), sent)
        self.assertEqual(failed(found)[2], [words.format("server")])
        found = judge_by(self.dane(associated(pki.other_root, 2, 1, 1)), sent)
        self.assertEqual(failed(found)[2], [words.format("CA")])
        found = judge_by(self.dane(associated(pki.other_root, 2, 1, 1)), Shown.of(pki["wrong_name"], pki.intermediate))
        self.assertEqual(failed(found)[2], ["server certificate verification failed: num=62:hostname mismatch"])

    def test_half_dane(self) -> None:
        """A match where the MX was not secure serves, but is not secured."""
        identity = shared_pki()["valid"]
        record = associated(identity, 3, 1, 1)
        for level, secured in ((Level.HALF_DANE, False), (Level.DANE, True), (Level.DANE_ONLY, True)):
            verdict = judge_by(self.dane(record, level=level), Shown.of(identity)).verdict
            self.assertEqual(verdict, Verdict(level, True, True, True))
            self.assertEqual(verdict.secured, secured)

    def test_unusable_records(self) -> None:
        """Without usable records dane does with any certificate, dane-only with none."""
        pki = shared_pki()
        shown = Shown.by(pki["self_signed"], [pki.root])
        found = judge_by(self.dane(Association(3, 1, 9, b"0000"), level=Level.DANE), shown)
        self.assertEqual(found.verdict, Verdict(Level.ENCRYPT, True, False, False))
        self.assertEqual(found.lines[2:], [f"certificate verification failed for {SERVER}: self-signed certificate"])
        found = judge_by(self.dane(Association(3, 1, 9, b"0000")), Shown.by(pki["valid"], [pki.root]))
        self.assertEqual(found.verdict, Verdict(Level.DANE_ONLY, True, False, False))
        self.assertIn("num=1:", found.lines[2])

    def test_trust_anchor(self) -> None:
        """A trust anchor in the place of authorities; names must match, even if the server's own is the anchor."""
        pki = shared_pki()
        sent = (pki["valid"], pki.intermediate)
        for anchor, selector, depth in (
            (pki.intermediate, 0, 1),
            (pki.root, 0, 2),
            (pki.root, 1, 1),
            (pki["valid"], 0, 0),
            (pki["valid"], 1, 0),
        ):
            policy = self.anchored(anchor, selector)
            self.assertEqual(
                self.matched(policy, *sent), [f"matched peername: {HOST}", f"Matched trust anchor at depth {depth}"]
            )
        found = judge_by(self.anchored(pki["wrong_name"], 0), Shown.of(pki["wrong_name"]))
        self.assertEqual(failed(found)[2], ["server certificate verification failed: num=62:hostname mismatch"])
        self.matched(self.anchored(pki["expired"], 0), pki["expired"])

    def anchored(self, anchor: Identity, selector: int) -> TlsPolicy:
        """A policy by a trust anchor."""
        return replace(VERIFY, trust_anchors=tuple(associated(anchor, usage, selector) for usage in (2, 3)))

    def test_other_trust_anchor(self) -> None:
        """An authority that is known does not help where there are trust anchors."""
        pki = shared_pki()
        found = judge_by(self.anchored(pki.other_root, 0), Shown.by(pki["valid"], [pki.root]))
        words = "CA certificate verification failed: num=65:no matching DANE TLSA records"
        self.assertEqual(failed(found), (False, False, [words]))

    def test_verbose(self) -> None:
        """Each step is told, in the order of OpenSSL."""
        pki = shared_pki()
        verbose = VerificationRules(LogClass.VERBOSE)

        def steps(policy: TlsPolicy, *sent: Identity) -> list[str]:
            lines = judge_by(policy, Shown.of(*sent), verbose).lines
            return [each.removeprefix(f"{SERVER}: ") for each in lines if "verify=" in each]

        leaf, issuer = f"subject=/CN={HOST}", "subject=/CN=Test Intermediate"
        sent = (pki["valid"], pki.intermediate)
        self.assertEqual(steps(self.dane(associated(pki["valid"], 3, 1, 1)), *sent), [f"depth=0 verify=1 {leaf}"])
        self.assertEqual(steps(self.dane(associated(pki["rsa"], 3, 1, 1)), *sent), [f"depth=0 verify=0 {leaf}"])
        self.assertEqual(steps(self.dane(associated(pki.intermediate, 2, 1, 1)), *sent), [f"depth=0 verify=1 {leaf}"])
        self.assertEqual(
            steps(self.dane(associated(pki.root, 2, 1)), *sent),
            [f"depth=1 verify=1 {issuer}", f"depth=0 verify=1 {leaf}"],
        )
        self.assertEqual(
            steps(self.dane(associated(pki.other_root, 2, 1, 1)), *sent),
            [f"depth=1 verify=0 {issuer}"] * 2 + [f"depth=0 verify=1 {leaf}"],
        )
        self.assertEqual(
            steps(self.anchored(pki.intermediate, 0), pki["wrong_name"], pki.intermediate),
            ["depth=0 verify=0 subject=/CN=other.example", "depth=0 verify=1 subject=/CN=other.example"],
        )


class ResumedTests(SynchronousTestCase):
    """`judge_resumed`."""

    def resumed(self, kept: Verdict, demands: Demands) -> tuple[Verdict, list[str]]:
        """What counts, and what was told."""
        told: list[Event] = []
        return judge_resumed(kept, demands, told.append), [line(event) for event in told]

    def test_verdict_stays(self) -> None:
        """What was found when the session began counts."""
        for level in (Level.MAY, Level.VERIFY, Level.HALF_DANE):
            for trusted in (False, True):
                kept = Verdict(level, True, trusted, trusted and level.must_match)
                verdict, told = self.resumed(kept, Demands(level, SERVER, tells_why=True))
                self.assertEqual(verdict, kept)
                note = f"{SERVER}: re-using session with untrusted peer credential, look for details earlier in the log"
                self.assertEqual(told, [note] if level.must_match and not trusted else [])

    def test_no_match_without_demand(self) -> None:
        """A match is one only where it is demanded."""
        kept = Verdict(Level.VERIFY, True, True, True)
        self.assertEqual(self.resumed(kept, Demands(Level.MAY, SERVER)), (Verdict(Level.MAY, True, True, False), []))


class HostileTests(SynchronousTestCase):
    """Servers that show what nobody has seen before."""

    def policies(self) -> list[TlsPolicy]:
        """One of each kind."""
        pki = shared_pki()
        records = (associated(pki["valid"], 3, 1, 1), associated(pki.root, 2, 1), associated(pki.root, 2, 0))
        return [
            TlsPolicy(Level.MAY),
            VERIFY,
            replace(VERIFY, trust_anchors=records[2:]),
            TlsPolicy(Level.FINGERPRINT, matches=("ab" * 32,)),
            TlsPolicy(Level.DANE_ONLY, associations=records, dane_names=(HOST,)),
        ]

    def judge(self, *chain: bytes) -> None:
        """Judge by all policies, with all lines: nothing is raised, and nobody matches."""
        everything = ~LogClass(0)
        for policy in self.policies():
            found = judge_by(policy, Shown(chain), VerificationRules(everything))
            self.assertFalse(found.verdict.matched)
            self.assertFalse(found.verdict.trusted)

    def test_odd_certificates(self) -> None:
        """Damage, endless names, names with NUL, negative serial numbers, no names at all."""
        many = subject_alt_name(*(b"h%d.example" % number for number in range(10_000)), b"mx1.dest.example")
        for octets in (
            b"",
            b"\x30\x00",
            certificate("x", serial=b"\x05\x00"),
            certificate("x", serial=b"\x02\x01\xff"),
            certificate(HOST + "\0.evil.example", subject_alt_name(HOST.encode() + b"\0.evil.example")),
            certificate(HOST, many),
            certificate("y" * 1_000_000, subject_alt_name(b"x" * 1_000_000)),
            certificate(b"\x30\x02\x31\x05", b"\xff"),
            certificate("\x1b[31m\n", dates=()),
        ):
            self.judge(octets)
            self.judge(octets, shared_pki().intermediate.der, octets)

    def test_many_certificates(self) -> None:
        """A thousand certificates behind the server's own."""
        self.judge(
            certificate("x"),
            *[certificate("x", serial=b"\x02\x02" + number.to_bytes(2, "big")) for number in range(1000)],
        )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
    def test_damaged(self, changes: list[tuple[int, int]], leaf: bool) -> None:
        """Octets changed anywhere in the server's certificate or in that of its issuer: what was signed is not trusted."""
        pki = shared_pki()
        intact = Shown.of(pki["valid"], pki.intermediate)
        chain = [bytearray(each) for each in intact.chain]
        damaged = chain[0 if leaf else 1]
        for place, octet in changes:
            damaged[place % len(damaged)] = octet
        shown = Shown(tuple(bytes(each) for each in chain))
        for policy in self.policies():
            found = judge_by(policy, shown, VerificationRules(~LogClass(0)))
            if found.verdict.matched and not policy.level.is_dane:
                self.assertEqual(shown, intact)


class ExaminedTests(SynchronousTestCase):
    """`tell_examined`."""

    def test_lines(self) -> None:
        """With a certificate, and without."""
        told: list[Event] = []
        for event in Shown.by(shared_pki()["valid"]).events:
            tell_examined(event, SERVER, told.append)
        tell_examined(CallbackEvent(3, 1, False), SERVER, told.append)
        self.assertEqual(
            [line(event) for event in told],
            [
                f"{SERVER}: depth=1 verify=0 subject=/CN=Test Intermediate",
                f"{SERVER}: depth=0 verify=1 subject=/CN={HOST}",
                f"{SERVER}: depth=3 verify=0",
            ],
        )

    def test_names_in_lower_case(self) -> None:
        """The server's name is in lower case in all lines."""
        self.assertNotEqual(PEER.relay, SERVER)
        self.assertIn(SERVER, judged("expired").lines[0])
