"""What OpenSSL itself thinks of certificates: names, and chains by TLSA records.

Random names go through X509_check_host of the system's libcrypto; random chains with random TLSA records are shown to
``openssl s_client``. The random numbers are the same each time.
"""

import contextlib
import ctypes
import random
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Identity, Pki, shared_pki
from tests.tls.handmade import certificate, subject_alt_name
from tests.tls.judging import QUIET, Shown, associated, judge_by
from twisted_mta.tls.anchors import examine
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.levels import Level
from twisted_mta.tls.names import References, match_names
from twisted_mta.tls.policy import Association, TlsPolicy

HOST = "mx1.dest.example"
OPENSSL = shutil.which("openssl")
NO_PARTIAL_WILDCARDS = 4


def libcrypto() -> Any:
    """The system's OpenSSL 3, or None."""
    try:
        library = ctypes.CDLL("libcrypto.so.3")
        library.d2i_X509.restype = ctypes.c_void_p
    except (OSError, AttributeError):
        return None
    return library


class NameTests(SynchronousTestCase):
    """Names that certificates present, and names that are demanded."""

    LIBRARY = libcrypto()
    if LIBRARY is None:
        skip = "needs libcrypto.so.3 (Debian package libssl3)"

    LABELS = ("a", "bc", "x-y", "-z", "w-", "d_t", "xn--bcher-kva", "*", "f*", "*g", "", "A", "dest", "\u00fc")

    def setUp(self) -> None:
        """The same names each time."""
        self.random = random.Random(20)

    def name(self, labels: tuple[str, ...] = LABELS) -> str:
        """A name of labels that other names have, too."""
        return ".".join(self.random.choice(labels) for _ in range(self.random.choice((1, 2, 3, 3, 4))))

    def related(self, name: str) -> str:
        """A name that has to do with another one."""
        _, _, above = name.partition(".")
        return self.random.choice(
            (name, name.upper(), f"a.{name}", above, f".{above}", f".{name}", f"bc.{above}", f"*.{above}")
        )

    def asked(self, octets: bytes, reference: bytes) -> tuple[bool, str]:
        """Whether OpenSSL finds a match, and which name it is."""
        pointer = ctypes.c_char_p(octets)
        known = self.LIBRARY.d2i_X509(None, ctypes.byref(pointer), ctypes.c_long(len(octets)))
        self.assertTrue(known)
        peername = ctypes.c_char_p()
        found = self.LIBRARY.X509_check_host(
            ctypes.c_void_p(known),
            ctypes.c_char_p(reference),
            ctypes.c_size_t(len(reference)),
            ctypes.c_uint(NO_PARTIAL_WILDCARDS),
            ctypes.byref(peername),
        )
        self.LIBRARY.X509_free(ctypes.c_void_p(known))
        return found == 1, (peername.value or b"").decode()

    def compare(self, subject: tuple[str, ...], presented: tuple[bytes, ...], reference: str) -> bool:
        """Ask both; whether they find a match."""
        names = subject_alt_name(*presented) if presented else None
        octets = certificate(subject, names)
        demanded = reference.lower().encode()
        match = match_names(read_certificate(octets), References((demanded,)))
        theirs = self.asked(octets, demanded)
        self.assertEqual((match.names, match.peername), theirs, (subject, presented, reference))
        return match.names

    def test_random_names(self) -> None:
        """Names, wildcards, parts of them, names with odd characters and with NUL: the same result, the same name."""
        matches = 0
        for _ in range(3000):
            presented = [self.name() for _ in range(self.random.choice((1, 1, 2, 3)))]
            subject = tuple(self.name() for _ in range(self.random.choice((0, 1, 2))))
            reference = self.related(self.random.choice([*presented, *subject])) or "a"
            wire = [each.encode() for each in presented]
            if self.random.random() < 0.1:
                wire[0] = self.random.choice((b"a\0." + wire[0], wire[0] + b"\0", wire[0] + b"\0.evil"))
            in_subject = subject and self.random.random() < 0.3
            matches += self.compare(subject, () if in_subject else tuple(wire), reference)
        self.assertGreater(matches, 500)


class DaneTests(SynchronousTestCase):
    """Chains that TLSA records decide about."""

    if OPENSSL is None:
        skip = "needs the program openssl"

    CASES = 60

    def setUp(self) -> None:
        """The same cases each time."""
        self.random = random.Random(5)
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    def chance(self, share: float) -> bool:
        """Whether it happens this time."""
        return self.random.random() < share

    def dates(self) -> dict[str, Any]:
        """Mostly dates that are right."""
        begins, ends = self.random.choice([(-1, 30)] * 20 + [(-60, -1), (10, 20)])
        return {"starts_in_days": begins, "ends_in_days": ends}

    def issued(self, pki: Pki) -> list[Identity]:
        """A server, and those who issued each other's certificates above it, with a fault here and there."""
        above: list[Identity] = []
        for number in range(self.random.choice((0, 1, 1, 2, 3))):
            identity = pki.issue(
                f"Authority {number}",
                issuer=above[0] if above else None,
                names=(),
                authority=self.chance(0.97),
                path_length=0 if self.chance(0.05) else None,
                key=self.random.choice(("p256", "p256", "ed25519")),
                key_identifiers=self.chance(0.8),
                **self.dates(),
            )
            above.insert(0, identity)
        server = pki.issue(
            issuer=above[0] if above else None,
            names=self.random.choice([(HOST,)] * 8 + [("other.example",), ()]),
            usage=ExtendedKeyUsageOID.CLIENT_AUTH if self.chance(0.05) else None,
            key_identifiers=self.chance(0.8),
            **self.dates(),
        )
        return [server, *above]

    def case(self) -> tuple[list[Identity], list[Association]]:
        """What a server sends, and its TLSA records."""
        pki = shared_pki()
        identities = self.issued(pki)
        sent = [identities[0], *(each for each in identities[1:] if self.chance(0.85))]
        if self.chance(0.1):
            sent.insert(1, pki.other_root)
        wanted = [*identities, *identities[1:], pki.other_root]
        records = [
            associated(
                self.random.choice(wanted),
                self.random.choice((2, 2, 2, 3)),
                self.random.choice((0, 1)),
                self.random.choice((0, 0, 1, 2)),
            )
            for _ in range(self.random.choice((1, 1, 2, 3)))
        ]
        return sent, records

    @contextlib.contextmanager
    def server(self, sent: list[Identity]) -> Iterator[int]:
        """A server for one connection; gives its port."""
        chain, key = self.directory / "chain.pem", self.directory / "key.pem"
        chain.write_bytes(b"".join(each.certificate_pem for each in sent))
        key.write_bytes(sent[0].key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(20)

            def serve() -> None:
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    with connection, context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

            serving = threading.Thread(target=serve)
            serving.start()
            yield listening.getsockname()[1]
            serving.join()

    def asked(self, sent: list[Identity], records: list[Association]) -> tuple[bool, int | None, str]:
        """Whether OpenSSL trusts a server, at which depth a record matched, and all that it said."""
        with self.server(sent) as port:
            arguments = [str(OPENSSL), "s_client", "-connect", f"127.0.0.1:{port}", "-brief"]
            arguments += ["-cipher", "DEFAULT:@SECLEVEL=1", "-dane_tlsa_domain", HOST, "-dane_ee_no_namechecks"]
            for each in records:
                text = f"{each.usage} {each.selector} {each.matching_type} {each.data.hex()}"
                arguments += ["-dane_tlsa_rrdata", text]
            done = subprocess.run(arguments, input="Q\n", capture_output=True, text=True, timeout=30, check=False)
        said = done.stdout + done.stderr
        self.assertIn("Verification", said)
        depth = re.search(r"DANE TLSA .* at depth (\d+)", said)
        return "Verification: OK" in said, int(depth[1]) if depth else None, said

    def test_random_chains(self) -> None:
        """The same verdict for each, and a match at the same depth."""
        trusted = 0
        for number in range(self.CASES):
            sent, records = self.case()
            fine, depth, said = self.asked(sent, records)
            policy = TlsPolicy(Level.DANE_ONLY, associations=tuple(records), dane_names=(HOST,))
            found = judge_by(policy, Shown.of(*sent))
            self.assertEqual(found.verdict.matched, fine, f"case {number}: {found.lines} but {said}")
            if fine:
                others = [each.der for each in sent[1:]]
                examination = examine(found.demands.associations, read_certificate(sent[0].der), others, QUIET)
                self.assertEqual(examination.depth, depth, f"case {number}")
            trusted += fine
        self.assertGreater(trusted, self.CASES // 6)
        self.assertLess(trusted, self.CASES)
