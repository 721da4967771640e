"""Certification authorities and certificates for tests, made when they are first asked for and kept for the process.

    pki = shared_pki()
    pki.root, pki.intermediate, pki.other_root        authorities; the intermediate is signed by the root
    pki["valid"]                                      one of IDENTITIES, by name
    pki.issue(names=("a.example",), key="p384")       any other one
    pki["valid"].write(directory)                     files: certificate, key, chain, both in one

A server's identity has DNS name `mx1.dest.example` where nothing else is its point.

Flow: tests/kit/tls_server.py and the tests of TLS take certificates from here.
Sources: RFC 5280 sections 4.1 and 4.2; cryptography.x509.
"""

import functools
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "mx1.dest.example"
"""The name of the server in most of the certificates."""

_NOW = datetime.now(UTC).replace(microsecond=0)

Key: TypeAlias = (
    rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

KEY_KINDS: dict[str, Any] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    "dsa": lambda: dsa.generate_private_key(1024),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}
"""What `key=` can say."""


@dataclass(frozen=True)
class Files:
    """Paths of PEM files.

    Attributes:
        certificate: the certificate alone.
        key: its key.
        chain: the certificate and those above it, without the root.
        both: key, then chain, as for smtp_tls_chain_files.
    """

    certificate: str
    key: str
    chain: str
    both: str


@dataclass(frozen=True)
class Identity:
    """A certificate with its key.

    Attributes:
        certificate: it.
        key: its private key.
        issuers: the certificates that belong behind it on the wire, its issuer first, without the root.
    """

    certificate: x509.Certificate
    key: Key = field(repr=False)
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """As a server sends it: leaf first."""
        return (self.certificate, *self.issuers)

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo in DER."""
        return self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public_key_pem(self) -> bytes:
        """The same in PEM."""
        return self.certificate.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and its issuers in PEM."""
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM (PKCS#8)."""
        return self.private_key_pem()

    def private_key_pem(self, form: str = "PKCS8") -> bytes:
        """The private key in PEM.

        Args:
            form: ``PKCS8``, or ``TraditionalOpenSSL`` for ``RSA PRIVATE KEY``, ``EC PRIVATE KEY``, ``DSA PRIVATE KEY``.
        """
        return self.key.private_bytes(
            serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), serialization.NoEncryption()
        )

    def fingerprint(self, algorithm: hashes.HashAlgorithm | None = None) -> str:
        """The digest of the certificate, ``AA:BB:...``."""
        return _colons(self.certificate.fingerprint(algorithm or hashes.SHA256()))

    def key_fingerprint(self, algorithm: hashes.HashAlgorithm | None = None) -> str:
        """The digest of the SubjectPublicKeyInfo, ``AA:BB:...``."""
        digest = hashes.Hash(algorithm or hashes.SHA256())
        digest.update(self.public_key_der)
        return _colons(digest.finalize())

    def write(self, directory: str | os.PathLike[str], name: str = "identity") -> Files:
        """Write it to files ``NAME-*.pem`` in a directory."""
        content = {
            "certificate": self.certificate_pem,
            "key": self.key_pem,
            "chain": self.chain_pem,
            "both": self.key_pem + self.chain_pem,
        }
        return Files(**{what: write(directory, f"{name}-{what}.pem", pem) for what, pem in content.items()})


def write(directory: str | os.PathLike[str], name: str, content: bytes) -> str:
    """Write a file; gives its path."""
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


class Pki:
    """Two roots, an intermediate below the first, and what they have signed."""

    def __init__(self) -> None:
        self.root = self.issue("Test Root", issuer=None, authority=True, names=())
        self.other_root = self.issue("Other Root", issuer=None, authority=True, names=())
        self.intermediate = self.issue("Test Intermediate", issuer=self.root, authority=True, names=())
        self._made: dict[str, Identity] = {}

    def __getitem__(self, name: str) -> Identity:
        """One of IDENTITIES; always the same."""
        if name not in self._made:
            self._made[name] = self._recipe(name)
        return self._made[name]

    def _recipe(self, name: str) -> Identity:
        wishes = dict(IDENTITIES[name])
        without_issuers = wishes.pop("without_issuers", False)
        made = self.issue(**wishes)
        return Identity(made.certificate, made.key) if without_issuers else made

    def issue(
        self,
        common_name: str | None = HOST,
        *,
        names: Iterable[str] = (HOST,),
        key: str | Key = "p256",
        issuer: "Identity | str | None" = "intermediate",
        starts_in_days: float = -1,
        ends_in_days: float = 30,
        authority: bool = False,
        path_length: int | None = None,
        usage: x509.ObjectIdentifier | None = None,
        key_identifiers: bool = True,
        organization: str = "",
    ) -> Identity:
        """Make a certificate.

        Args:
            common_name: of its subject; None: none.
            names: DNS names, or IP addresses, of its subjectAltName; none: there is no such extension.
            key: one of KEY_KINDS, or a private key.
            issuer: who signs; the word intermediate; None: itself.
            starts_in_days: when it becomes valid.
            ends_in_days: when it expires.
            authority: whether it is one.
            path_length: of an authority.
            usage: its extendedKeyUsage; None: no such extension.
            key_identifiers: whether it names its key and that of its issuer.
            organization: of its subject.
        """
        signer = self.intermediate if isinstance(issuer, str) else issuer
        own_key: Key = KEY_KINDS[key]() if isinstance(key, str) else key
        subject = _name(common_name, organization)
        signer_key = signer.key if signer else own_key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.certificate.subject if signer else subject)
            .public_key(own_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_NOW + timedelta(days=starts_in_days))
            .not_valid_after(_NOW + timedelta(days=ends_in_days))
            .add_extension(x509.BasicConstraints(authority, path_length if authority else None), critical=True)
        )
        if key_identifiers:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), critical=False
            ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        if general := [_general_name(each) for each in names]:
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        digest = None if isinstance(signer_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
        signed_below_root = signer is not None and signer.certificate.issuer != signer.certificate.subject
        issuers = signer.chain if signer and signed_below_root else ()
        return Identity(builder.sign(signer_key, digest), own_key, issuers)


IDENTITIES: dict[str, dict[str, Any]] = {
    "valid": {},
    "rsa": {"key": "rsa"},
    "p384": {"key": "p384"},
    "ed25519": {"key": "ed25519"},
    "weak": {"key": "rsa1024"},
    "expired": {"starts_in_days": -60, "ends_in_days": -1},
    "future": {"starts_in_days": 10},
    "wrong_name": {"common_name": "other.example", "names": ("other.example",)},
    "self_signed": {"issuer": None},
    "no_intermediate": {"without_issuers": True},
    "common_name_only": {"names": ()},
    "wildcard": {"common_name": "dest.example", "names": ("*.dest.example",)},
    "ip_address": {"common_name": None, "names": ("192.0.2.1",)},
    "nameless": {"common_name": None, "names": ()},
    "not_for_servers": {"usage": ExtendedKeyUsageOID.CLIENT_AUTH},
    "client": {"common_name": "client.example", "names": (), "usage": ExtendedKeyUsageOID.CLIENT_AUTH},
    "client_rsa": {
        "common_name": "client.example",
        "names": (),
        "usage": ExtendedKeyUsageOID.CLIENT_AUTH,
        "key": "rsa",
    },
    "client_dsa": {
        "common_name": "client.example",
        "names": (),
        "usage": ExtendedKeyUsageOID.CLIENT_AUTH,
        "key": "dsa",
    },
    "client_ed25519": {
        "common_name": "client.example",
        "names": (),
        "usage": ExtendedKeyUsageOID.CLIENT_AUTH,
        "key": "ed25519",
    },
}
"""The identities that have names, and what is special about each; the words are those of `Pki.issue`."""


@functools.cache
def shared_pki() -> Pki:
    """The PKI of this process."""
    return Pki()


def _name(common_name: str | None, organization: str) -> x509.Name:
    attributes = []
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _general_name(text: str) -> x509.GeneralName:
    if re.fullmatch(r"[0-9.]+|.*:.*", text):
        return x509.IPAddress(ipaddress.ip_address(text))
    return x509.DNSName(text)


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()
