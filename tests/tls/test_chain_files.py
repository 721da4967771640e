"""Files with keys and certificate chains. The words are those of a running Postfix with the same files."""

import base64

from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Identity, shared_pki
from twisted_mta.tls.chain_files import (
    ChainError,
    KeyedChain,
    read_certificates,
    read_chains,
    read_key,
    read_mixed,
)

EC, RSA, DSA, OTHER_EC = (shared_pki()[name] for name in ("client", "client_rsa", "client_dsa", "valid"))
EDWARDS = shared_pki()["client_ed25519"]


def pem(kind: str, der: bytes) -> bytes:
    """An object of a kind, whatever is in it."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind.encode(), base64.encodebytes(der), kind.encode())


def both(identity: Identity) -> bytes:
    """Key and chain."""
    return identity.key_pem + identity.chain_pem


def key_der(identity: Identity) -> bytes:
    """The private key, in the form that all kinds share."""
    return identity.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class ChainFilesTests(SynchronousTestCase):
    """`read_chains`."""

    def setUp(self) -> None:
        """Hear warnings."""
        self.warnings: list[str] = []

    def read(self, **files: bytes) -> list[KeyedChain]:
        """Read files, in order."""
        return read_chains(list(files.items()), self.warnings.append)

    def error(self, **files: bytes) -> ChainError:
        """What is wrong with files."""
        try:
            self.read(**files)
        except ChainError as error:
            return error
        return self.fail("nothing is wrong with them")

    def problem(self, **files: bytes) -> str:
        """The same, in words."""
        return self.error(**files).problem

    def test_one_file(self) -> None:
        """Keys, each with its certificate and those above it; as many as there are kinds."""
        chains = self.read(f=both(EC) + both(RSA) + EDWARDS.key_pem + EDWARDS.certificate_pem)
        self.assertEqual([len(chain.certificates) for chain in chains], [2, 2, 1])
        self.assertEqual([chain.certificates[0] for chain in chains], [EC.der, RSA.der, EDWARDS.der])
        self.assertEqual([chain.rsa_bits for chain in chains], [0, 2048, 0])
        self.assertEqual(self.warnings, [])

    def test_several_files(self) -> None:
        """The files count as one: a key may stand in another one than its certificate; empty ones do not matter."""
        intermediate = shared_pki().intermediate.certificate_pem
        chains = self.read(a=EC.key_pem, b=b"", c=EC.certificate_pem, d=intermediate + both(RSA), e=b"\n")
        self.assertEqual([chain.certificates[0] for chain in chains], [EC.der, RSA.der])
        self.assertEqual(len(chains[0].certificates), 2)

    def test_forms_of_keys(self) -> None:
        """Keys in their own forms, and certificates under their former name."""
        for identity in (RSA, DSA, EC):
            content = identity.private_key_pem("TraditionalOpenSSL") + identity.chain_pem
            (chain,) = self.read(f=content.replace(b" CERTIFICATE", b" X509 CERTIFICATE"))
            self.assertEqual(chain.certificates[0], identity.der)

    def test_other_objects(self) -> None:
        """What is neither key nor certificate is passed over, and told; so are encrypted keys."""
        self.read(f=pem("EC PARAMETERS", b"x") + EC.key_pem + pem("FOO", b"x") + EC.chain_pem)
        self.assertEqual(
            self.warnings, ["loading f: ignoring PEM type: EC PARAMETERS", "loading f: ignoring PEM type: FOO"]
        )
        self.warnings.clear()
        self.assertEqual(
            self.problem(f=pem("ENCRYPTED PRIVATE KEY", b"x") + EC.chain_pem),
            "error loading chain from f: key not first",
        )
        self.assertEqual(self.warnings, ["loading f: ignoring PEM type: ENCRYPTED PRIVATE KEY"])

    def test_order(self) -> None:
        """A key comes first, and is followed by its certificate."""
        first = "error loading certificate chain: key at index"
        cases = {
            "error loading chain from f: key not first": EC.chain_pem + EC.key_pem,
            f"{first} 1 in f not followed by a certificate": EC.key_pem + both(RSA),
            f"{first} 4 in f not followed by a certificate": both(RSA) + EC.key_pem + both(EC),
            "No certs for key at index 1 in f": EC.key_pem,
            "No certs for key at index 4 in f": both(RSA) + EC.key_pem,
            "No PEM data in f": b"hello\n",
        }
        for problem, content in cases.items():
            self.assertEqual(self.problem(f=content), problem)
        self.assertEqual(self.problem(a=b"", b=b"hello"), "No PEM data in a b")
        self.assertEqual(self.problem(a=EC.key_pem, b=both(EC)), f"{first} 1 in a not followed by a certificate")
        self.assertEqual(self.problem(a=both(EC), b=RSA.key_pem), "No certs for key at index 1 in b")

    def test_pairs(self) -> None:
        """A key must be that of its certificate, and the only one of its kind."""
        wrong = EC.key_pem + OTHER_EC.chain_pem
        self.assertEqual(
            self.problem(f=wrong + both(RSA)),
            "error loading certificate chain: key at index 1 in f does not match the certificate",
        )
        self.assertEqual(self.problem(f=both(RSA) + wrong), "key at index 4 in f does not match next certificate")
        error = self.error(f=wrong)
        self.assertEqual(error.errors, ((0x0A000120, "SSL routines", "private key mismatch", ""),))
        error = self.error(f=both(EC) + both(OTHER_EC))
        self.assertEqual(error.problem, "key at index 4 in f does not match next certificate")
        self.assertEqual(error.errors, ((0x0A000121, "SSL routines", "not replacing certificate", ""),))

    def test_damage(self) -> None:
        """What cannot be read is named by its place, and so is what has more behind it."""
        cases = {
            "certificate (PEM object number 2) from f": EC.key_pem + pem("CERTIFICATE", b"\x30\x03abc"),
            "certificate (PEM object number 3) from f": EC.key_pem + EC.certificate_pem + pem("CERTIFICATE", b"no"),
            "certificate (PEM object number 2) from f: excess data": EC.key_pem + pem("CERTIFICATE", EC.der + b"xx"),
            "private key (PEM object number 1) from f": pem("PRIVATE KEY", b"\x30\x03abc") + EC.chain_pem,
            "private key (PEM object number 1) from f: excess data": pem("PRIVATE KEY", key_der(EC) + b"xx"),
        }
        for problem, content in cases.items():
            self.assertEqual(self.problem(f=content), f"error loading {problem}")
        self.assertEqual(
            self.problem(f=pem("RSA PRIVATE KEY", key_der(EC)) + EC.chain_pem),
            "error loading private key (PEM object number 1) from f",
        )
        error = self.error(f=EC.key_pem + EC.chain_pem[:100] + b"!!" + EC.chain_pem[102:])
        self.assertEqual((error.problem, error.errors), ("", ((0, "PEM routines", "bad base64 decode", ""),)))

    def test_secrets(self) -> None:
        """A key shows in no representation."""
        (chain,) = self.read(f=both(EC))
        self.assertNotIn("key", repr(chain).lower().replace("keyedchain", ""))

    @settings(deadline=None, max_examples=40)
    @given(
        st.lists(
            st.sampled_from([EC.key_pem, RSA.key_pem, EC.certificate_pem, RSA.chain_pem, b"junk\n", b"-----BEGIN "])
        )
    )
    def test_any_order(self, pieces: list[bytes]) -> None:
        """Whatever the order: chains whose keys fit, at most one of a kind, or an error."""
        try:
            chains = read_chains([("f", b"".join(pieces))], self.warnings.append)
        except ChainError:
            return
        kinds = [chain.key.type() for chain in chains]
        self.assertEqual(len(kinds), len(set(kinds)))
        self.assertTrue(all(chain.certificates[0] in (EC.der, RSA.der) for chain in chains))


class MixedFileTests(SynchronousTestCase):
    """`read_mixed`."""

    def setUp(self) -> None:
        """Hear warnings."""
        self.warnings: list[str] = []

    def test_any_place(self) -> None:
        """The key may stand anywhere; what is neither key nor certificate is nobody's business."""
        for content in (both(EC), EC.chain_pem + EC.key_pem, EC.certificate_pem + pem("FOO", b"x") + EC.key_pem):
            self.assertEqual(read_mixed("f", content, self.warnings.append).certificates[0], EC.der)
        self.assertEqual(self.warnings, [])

    def test_second_key(self) -> None:
        """Only the first key counts."""
        chain = read_mixed("f", EC.chain_pem + EC.key_pem + RSA.key_pem, self.warnings.append)
        self.assertEqual(chain.key.type(), crypto.TYPE_EC)
        self.assertEqual(self.warnings, ["ignoring 2nd key at index 4 in f after 1st at 3"])

    def test_problems(self) -> None:
        """Key and certificate must both be there, and fit."""
        cases = {
            "No private key found in f": EC.chain_pem,
            "No certs for key at index 1 in f": EC.key_pem,
            "No PEM data in f": b"",
            "key at index 3 in f does not match next certificate": EC.chain_pem + RSA.key_pem,
        }
        for problem, content in cases.items():
            error = self.assertRaises(ChainError, read_mixed, "f", content, self.warnings.append)
            self.assertEqual(error.problem, problem)


class PartTests(SynchronousTestCase):
    """`read_certificates` and `read_key`: two files for one pair."""

    def test_certificates(self) -> None:
        """All certificates, also those that say what they are trusted for; None where there is none or one is damaged."""
        self.assertEqual(read_certificates(b"text\n" + EC.chain_pem + RSA.key_pem), tuple(certificates_of_pem()))
        trusted = pem("TRUSTED CERTIFICATE", EC.der + b"\x30\x00")
        self.assertEqual(read_certificates(trusted), (EC.der,))
        self.assertIsNone(read_certificates(EC.key_pem))
        self.assertIsNone(read_certificates(EC.chain_pem + pem("CERTIFICATE", b"no")))
        self.assertIsNone(read_certificates(EC.chain_pem[:-20]))

    def test_key(self) -> None:
        """The first key; None where there is none or it is damaged."""
        key = read_key(EC.chain_pem + RSA.key_pem + EC.key_pem)
        self.assertEqual(key and key.type(), crypto.TYPE_RSA)
        self.assertIsNone(read_key(EC.chain_pem))
        self.assertIsNone(read_key(pem("PRIVATE KEY", b"no")))
        self.assertIsNone(read_key(RSA.key_pem[:-20]))


def certificates_of_pem() -> list[bytes]:
    """The chain of the EC client."""
    return [certificate.public_bytes(serialization.Encoding.DER) for certificate in EC.chain]
