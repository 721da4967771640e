"""Certificates judged by TLSA records, fingerprints and trust anchors."""

from collections.abc import Sequence
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Identity, shared_pki
from tests.tls.handmade import certificate
from tests.tls.judging import QUIET, associated
from twisted_mta.tls.anchors import Examination, examine, has_signed
from twisted_mta.tls.associations import best_of
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.policy import Association
from twisted_mta.tls.rules import VerificationRules

RSA_512 = b"""\
-----BEGIN CERTIFICATE-----
MIIBdzCCASGgAwIBAgIULS62gZdRM4hZ96pvdDWPp+N2zK8wDQYJKoZIhvcNAQEL
BQAwDzENMAsGA1UEAwwEV2VhazAgFw0yNjExMjIyMTE4MDRaGA8yMTI2MTAyOTIx
MTgwNFowDzENMAsGA1UEAwwEV2VhazBcMA0GCSqGSIb3DQEBAQUAA0sAMEgCQQCT
IrMvyqf7Z8K9EYabzIQNENJQ2QRpcKKfP3epgPxVDCBXY/vZQPnH1RU+ePB+gEIc
GyFHJ0UH7YZYNyFh7M9lAgMBAAGjUzBRMB0GA1UdDgQWBBQajxP/LhpoXCaMMPax
Rp4EDvH5KTAfBgNVHSMEGDAWgBQajxP/LhpoXCaMMPaxRp4EDvH5KTAPBgNVHRMB
Af8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA0EAAMteyW0eAcWMNmpine9txOEJ6D+C
91rH1Oke9ElJk2WVIaztsmJ+yO3thkq69AvgRMZ6iztwmG4k2jJmZvPAqw==
-----END CERTIFICATE-----
"""

SIGNED_BY_SHA1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBGTCBxAIUQDwWcBvSiiGF8WdZpwNNoTSnepgwDQYJKoZIhvcNAQEFBQAwDzEN
MAsGA1UEAwwEV2VhazAgFw0yNjExMjIyMTE4MDRaGA8yMTI2MTAyOTIxMTgwNFow
DzENMAsGA1UEAwwEbGVhZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLQxQDMX
a9KlOUPSIBHJHqJiCIwqWwYfFurQk9QphmMUgCNPakiAjz8NfC7zhupDVpn3/xs3
o3H393jXdBIfr9IwDQYJKoZIhvcNAQEFBQADQQCBsphEAQ2MWYPfXxck3ctUdpc2
bncy/E3lkVPsAwICTfo0xl0o6FrWJYQhfYmzAOqbYz7zs6WlxhHGGTLZcPz1
-----END CERTIFICATE-----
"""

PAST: dict[str, Any] = {"starts_in_days": -60, "ends_in_days": -1}


def examined(
    sent: Sequence[Identity | bytes], *associations: Association, rules: VerificationRules = QUIET
) -> Examination:
    """Examine what was sent, the server's own certificate first."""
    ders = [each if isinstance(each, bytes) else each.der for each in sent]
    return examine(best_of(associations, rules.record_digests), read_certificate(ders[0]), ders[1:], rules)


def faults(examination: Examination) -> list[tuple[int, int]]:
    """Depth and number of what is wrong."""
    return [(event.depth, event.error) for event in examination.events if not event.ok]


class LeafTests(SynchronousTestCase):
    """Associations that name the server's own certificate or key (DANE-EE)."""

    def test_match(self) -> None:
        """Nothing but the match counts: no issuer, no dates, no purpose."""
        pki = shared_pki()
        for identity in (pki["valid"], pki["expired"], pki["self_signed"], pki["not_for_servers"]):
            for selector in (0, 1):
                for matching_type in (0, 1, 2):
                    association = associated(identity, 3, selector, matching_type)
                    found = examined([identity], association)
                    self.assertEqual((found.match, found.depth, faults(found)), (association, 0, []))
                    self.assertTrue(found.events[-1].ok)

    def test_no_match(self) -> None:
        """Another certificate; no chain is built."""
        pki = shared_pki()
        found = examined([pki["valid"], pki.intermediate], associated(pki.intermediate, 3, 0, 1))
        self.assertEqual((found.match, faults(found), found.built_chain), (None, [(0, 65)], False))

    def test_before_anchors(self) -> None:
        """They are tried before those that name issuers, keys before certificates, digests before full data."""
        pki = shared_pki()
        valid = pki["valid"]
        everything = [
            associated(identity, usage, selector, kind)
            for identity, usage in ((valid, 3), (pki.intermediate, 2))
            for selector in (0, 1)
            for kind in (0, 1)
        ]
        self.assertEqual(examined(valid_chain(), *everything).match, associated(valid, 3, 1, 1))

    def test_weak_key(self) -> None:
        """A key that is too weak is told, in spite of the match."""
        short = crypto.load_certificate(crypto.FILETYPE_PEM, RSA_512)
        octets = crypto.dump_certificate(crypto.FILETYPE_ASN1, short)
        self.assertEqual(faults(examined([octets], Association(3, 0, 0, octets))), [(0, 66)])

    def test_unreadable(self) -> None:
        """What OpenSSL does not take for a certificate is not trusted."""
        octets = certificate("x", serial=b"\x05\x00")
        self.assertEqual(faults(examined([octets], associated(shared_pki().root, 2, 0))), [(0, 1)])


def valid_chain() -> list[Identity]:
    """A server's certificate, and its issuer."""
    return [shared_pki()["valid"], shared_pki().intermediate]


class AnchorTests(SynchronousTestCase):
    """Associations that name an issuer (DANE-TA)."""

    def test_sent(self) -> None:
        """An issuer that was sent, at any height, by any kind of association."""
        pki = shared_pki()
        for anchor, depth in ((pki.intermediate, 1), (pki.root, 2)):
            for selector in (0, 1):
                for matching_type in (0, 1, 2):
                    association = associated(anchor, 2, selector, matching_type)
                    found = examined([*valid_chain(), pki.root], association)
                    self.assertEqual((found.match, found.depth, faults(found)), (association, depth, []))
                    self.assertFalse(found.by_key)

    def test_order_of_sending(self) -> None:
        """What is behind the server's own certificate may come in any order, with others between."""
        pki = shared_pki()
        sent = [pki["valid"], pki.other_root, pki.root, pki["rsa"], pki.intermediate]
        found = examined(sent, associated(pki.root, 2, 0, 1))
        self.assertEqual((found.depth, faults(found)), (2, []))

    def test_lowest(self) -> None:
        """Of several the one nearest to the server counts."""
        pki = shared_pki()
        both = [associated(pki.root, 2, 1, 1), associated(pki.intermediate, 2, 0, 1)]
        found = examined([*valid_chain(), pki.root], *both)
        self.assertEqual((found.match, found.depth), (both[1], 1))

    def test_not_sent(self) -> None:
        """A certificate in an association need not be sent, one of which there is but a digest must be."""
        pki = shared_pki()
        found = examined([pki["valid"]], associated(pki.intermediate, 2, 0))
        self.assertEqual((found.depth, faults(found)), (1, []))
        found = examined(valid_chain(), associated(pki.root, 2, 0))
        self.assertEqual((found.depth, faults(found)), (2, []))
        found = examined(valid_chain(), associated(pki.root, 2, 0, 1))
        self.assertEqual((found.match, faults(found)), (None, [(1, 65), (1, 20)]))

    def test_never_the_leaf(self) -> None:
        """The server's own certificate is no issuer, even if it has signed itself or comes twice."""
        identity = shared_pki()["self_signed"]
        found = examined([identity, identity], associated(identity, 2, 0, 1))
        self.assertEqual((found.match, faults(found)[0]), (None, (0, 65)))

    def test_no_match(self) -> None:
        """The top of the chain is told first; what else is wrong follows, and its dates do not matter."""
        pki = shared_pki()
        wanted = associated(pki.other_root, 2, 0, 1)
        self.assertEqual(faults(examined([*valid_chain(), pki.root], wanted)), [(2, 65), (2, 19)])
        self.assertEqual(faults(examined([pki["valid"]], wanted)), [(0, 65), (0, 20), (0, 21)])
        self.assertEqual(faults(examined([pki["expired"], pki.intermediate], wanted))[-1], (0, 10))
        self.assertEqual(faults(examined([pki["not_for_servers"], pki.intermediate], wanted))[-1], (0, 26))

    def test_foreign_anchor(self) -> None:
        """An issuer that has nothing to do with the server's certificate."""
        pki = shared_pki()
        found = examined([pki["self_signed"], pki.root], associated(pki.root, 2, 0, 1))
        self.assertEqual((found.match, faults(found)), (None, [(0, 65), (0, 18)]))

    def test_dates(self) -> None:
        """Dates count up to the anchor; those of the anchor only if it has signed itself."""
        pki = shared_pki()
        self.assertEqual(
            faults(examined([pki["expired"], pki.intermediate], associated(pki.intermediate, 2, 0, 1))), [(0, 10)]
        )
        self.assertEqual(
            faults(examined([pki["future"], pki.intermediate], associated(pki.intermediate, 2, 0, 1))), [(0, 9)]
        )
        old = pki.issue("Old", issuer=pki.root, authority=True, names=(), **PAST)
        below = pki.issue(issuer=old)
        self.assertEqual(faults(examined([below, old], associated(old, 2, 0, 1))), [])
        self.assertEqual(faults(examined([below, old, pki.root], associated(pki.root, 2, 0, 1))), [(1, 10)])
        old_root = pki.issue("Old Root", issuer=None, authority=True, names=(), **PAST)
        below = pki.issue(issuer=old_root)
        self.assertEqual(faults(examined([below, old_root], associated(old_root, 2, 0, 1))), [(1, 10)])

    def test_uses(self) -> None:
        """Issuers must be authorities, long enough paths must be allowed, the certificate must be one for servers."""
        pki = shared_pki()
        wanted = associated(pki.intermediate, 2, 0, 1)
        self.assertEqual(faults(examined([pki["not_for_servers"], pki.intermediate], wanted)), [(0, 26)])
        nobody = pki.issue("Nobody", issuer=pki.root, names=())
        found = examined([pki.issue(issuer=nobody), nobody, pki.root], associated(pki.root, 2, 0, 1))
        self.assertEqual(found.match, associated(pki.root, 2, 0, 1))
        self.assertTrue(faults(found))
        short = pki.issue("Short", issuer=None, authority=True, names=(), path_length=0)
        middle = pki.issue("Middle", issuer=short, authority=True, names=())
        self.assertIn(
            25,
            [
                code
                for _, code in faults(examined([pki.issue(issuer=middle), middle, short], associated(short, 2, 0, 1)))
            ],
        )
        clients = pki.issue("Clients", issuer=pki.root, authority=True, names=(), usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        found = examined([pki.issue(issuer=clients), clients], associated(clients, 2, 0, 1))
        self.assertEqual(faults(found), [(1, 26)])

    def test_forged(self) -> None:
        """A chain whose names fit, but not its signatures."""
        pki = shared_pki()
        twin = pki.issue("Test Intermediate", issuer=None, authority=True, names=(), key_identifiers=False)
        forged = pki.issue(issuer=twin, key_identifiers=False)
        found = examined([forged, pki.intermediate], associated(pki.intermediate, 2, 0, 1))
        self.assertEqual(faults(found), [(0, 7)])

    def test_weak_keys(self) -> None:
        """Issuers with keys that are too weak, and signatures of SHA-1."""
        leaf, root = (
            crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.load_certificate(crypto.FILETYPE_PEM, pem))
            for pem in (SIGNED_BY_SHA1, RSA_512)
        )
        found = examined([leaf, root], Association(2, 0, 0, root))
        self.assertEqual(faults(found), [(0, 68), (1, 67)])

    def test_depth(self) -> None:
        """smtp_tls_scert_verifydepth and one more intermediates pass, not two."""
        pki = shared_pki()
        chain = [pki.root]
        for number in range(3):
            chain.insert(0, pki.issue(f"Deep {number}", issuer=chain[0], authority=True, names=()))
        chain.insert(0, pki.issue(issuer=chain[0]))
        root = associated(pki.root, 2, 0, 1)
        self.assertEqual(faults(examined(chain, root, rules=VerificationRules(depth_limit=2))), [])
        found = examined(chain, root, rules=VerificationRules(depth_limit=1))
        self.assertEqual((found.match, faults(found)), (None, [(3, 22), (3, 65), (3, 20)]))
        nearer = examined(chain, associated(chain[1], 2, 0, 1), rules=VerificationRules(depth_limit=0))
        self.assertEqual(faults(nearer), [])

    def test_endless_chain(self) -> None:
        """Hundreds of certificates that all could have issued each other come to an end."""
        pki = shared_pki()
        twins = [pki.issue("Twin", issuer=None, authority=True, names=(), key_identifiers=False)]
        for _ in range(120):
            twins.append(pki.issue("Twin", issuer=twins[-1], authority=True, names=(), key_identifiers=False))
        leaf = pki.issue(issuer=twins[-1], key_identifiers=False)
        found = examined([leaf, *twins], associated(pki.root, 2, 0, 1))
        self.assertIsNone(found.match)
        self.assertIn(65, [code for _, code in faults(found)])

    def test_garbage_among_the_sent(self) -> None:
        """What is no certificate is passed over."""
        pki = shared_pki()
        sent: list[Identity | bytes] = [
            pki["valid"],
            b"",
            b"\x30\x00",
            certificate("x", serial=b"\x05\x00"),
            pki.intermediate,
        ]
        self.assertEqual(faults(examined(sent, associated(pki.intermediate, 2, 0, 1))), [])


class KeyTests(SynchronousTestCase):
    """Keys that are given in full, of issuers that were not sent."""

    def test_signed_top(self) -> None:
        """The key that has signed the top of the chain."""
        pki = shared_pki()
        key = associated(pki.root, 2, 1)
        found = examined(valid_chain(), key)
        self.assertEqual((found.match, found.depth, found.by_key, faults(found)), (key, 1, True, []))
        self.assertEqual([event.depth for event in found.events], [1, 0])

    def test_signed_leaf(self) -> None:
        """The key that has signed the server's own certificate, where nothing else was sent."""
        pki = shared_pki()
        found = examined([pki["valid"]], associated(pki.intermediate, 2, 1))
        self.assertEqual((found.depth, found.by_key, faults(found)), (0, True, []))

    def test_dates(self) -> None:
        """All dates count, also those of the top."""
        pki = shared_pki()
        old = pki.issue("Old", issuer=pki.root, authority=True, names=(), **PAST)
        found = examined([pki.issue(issuer=old), old], associated(pki.root, 2, 1))
        self.assertEqual((found.by_key, faults(found)), (True, [(1, 10)]))

    def test_no_digest(self) -> None:
        """A digest of the key is not enough, nor is another key."""
        pki = shared_pki()
        for association in (
            associated(pki.root, 2, 1, 1),
            associated(pki.other_root, 2, 1),
            associated(pki.root, 2, 0),
        ):
            found = examined([pki["valid"]], association)
            self.assertEqual((found.match, faults(found)[0]), (None, (0, 65)))

    def test_kinds_of_keys(self) -> None:
        """Keys of all kinds sign."""
        pki = shared_pki()
        for kind in ("rsa", "dsa", "p384", "ed25519", "ed448"):
            root = pki.issue("Root", issuer=None, authority=True, names=(), key=kind)
            leaf = crypto.X509.from_cryptography(pki.issue(issuer=root).certificate)
            self.assertTrue(has_signed(root.public_key_der, leaf), kind)
            self.assertFalse(has_signed(pki.root.public_key_der, leaf), kind)
            self.assertFalse(has_signed(pki["rsa"].public_key_der, leaf), kind)
        self.assertFalse(has_signed(b"\x30\x00", crypto.X509.from_cryptography(pki["valid"].certificate)))
        self.assertFalse(
            has_signed(
                pki.root.public_key_der,
                crypto.load_certificate(crypto.FILETYPE_ASN1, certificate("x", serial=b"\x02\x01\xff")),
            )
        )
