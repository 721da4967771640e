"""Files with private keys and certificate chains: which key belongs to which certificates.

The rules of smtp_tls_chain_files, whose files count as one after the other:
1. A key comes first, then its certificate, then those above it; then perhaps the next key.
2. A key must be the one of the certificate that follows.
3. There is one key of each kind: RSA, EC, ...
In a file that is both certificate file and key file, the one key may stand anywhere.

Flow: tls/client_certificates.py reads the files and asks what is in them.
Sources: postconf(5) smtp_tls_chain_files, smtp_tls_cert_file; the warnings of smtp(8) about such files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from OpenSSL import SSL, crypto

from twisted_mta.tls.der import DerError, elements
from twisted_mta.tls.library import errors_of, set_ciphers, use_certificate, use_private_key
from twisted_mta.tls.library_error import LibraryError
from twisted_mta.tls.pem import PemError, PemObject, pem_objects

_CERTIFICATES = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_KEYS = {
    b"PRIVATE KEY": None,
    b"RSA PRIVATE KEY": crypto.TYPE_RSA,
    b"DSA PRIVATE KEY": crypto.TYPE_DSA,
    b"EC PRIVATE KEY": crypto.TYPE_EC,
}
"""The kinds of objects that are keys, with the type that the name promises."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """A private key, and where it stands.

    Attributes:
        key: it.
        file: its file.
        index: the how manieth object of the file it is.
    """

    key: crypto.PKey = field(repr=False)
    file: str
    index: int

    def __str__(self) -> str:
        """As warnings name it."""
        return f"key at index {self.index} in {self.file}"


@dataclass(frozen=True, slots=True)
class KeyedChain:
    """A private key with its certificates.

    Attributes:
        key: it.
        certificates: in DER, that of the key first.
    """

    key: crypto.PKey = field(repr=False)
    certificates: tuple[bytes, ...]

    @property
    def rsa_bits(self) -> int:
        """The size of the key if it is an RSA key; otherwise 0."""
        return self.key.bits() if self.key.type() == crypto.TYPE_RSA else 0


class ChainError(Exception):
    """Files do not hold what they should.

    Attributes:
        problem: in words for the log; empty: what the library says is all.
        errors: what the library says.
    """

    def __init__(self, problem: str, errors: Sequence[LibraryError] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.errors = tuple(errors)


@dataclass(slots=True)
class _Reading:
    """How far the files were read."""

    chains: list[KeyedChain] = field(default_factory=list)
    key: KeyPlace | None = None
    certificates: list[bytes] = field(default_factory=list)


def read_chains(files: Sequence[tuple[str, bytes]], warn: Callable[[str], None]) -> list[KeyedChain]:
    """Read the files of smtp_tls_chain_files.

    Args:
        files: paths and contents.
        warn: told what is passed over.

    Raises:
        ChainError: a rule is broken.
    """
    reading, seen = _Reading(), False
    for file, content in files:
        for index, found in enumerate(_objects(content), 1):
            seen = True
            _take_in_order(reading, found, file, index, warn)
    if reading.key is None:
        if not seen:
            raise ChainError(f"No PEM data in {' '.join(file for file, _ in files)}")
        return reading.chains
    if not reading.certificates:
        raise ChainError(f"No certs for {reading.key}")
    _complete(reading, reading.key, f"{reading.key} does not match next certificate")
    return reading.chains


def _take_in_order(reading: _Reading, found: PemObject, file: str, index: int, warn: Callable[[str], None]) -> None:
    if found.kind in _KEYS:
        if reading.key is not None:
            problem = f"error loading certificate chain: {reading.key}"
            if not reading.certificates:
                raise ChainError(f"{problem} not followed by a certificate")
            _complete(reading, reading.key, f"{problem} does not match the certificate")
        reading.key = KeyPlace(_key(found, file, index), file, index)
    elif found.kind in _CERTIFICATES:
        if reading.key is None:
            raise ChainError(f"error loading chain from {file}: key not first")
        reading.certificates.append(_certificate(found, file, index))
    else:
        warn(f"loading {file}: ignoring PEM type: {found.kind.decode('ascii', 'replace')}")


def _complete(reading: _Reading, key: KeyPlace, problem: str) -> None:
    chain = KeyedChain(key.key, tuple(reading.certificates))
    if not fits(chain):
        raise ChainError(problem, [_MISMATCH])
    if any(each.key.type() == key.key.type() for each in reading.chains):
        raise ChainError(problem, [_NOT_REPLACING])
    reading.chains.append(chain)
    reading.key = None
    reading.certificates.clear()


# What the library says of such a key, or would if it were asked.
_MISMATCH = (0x0A000120, "SSL routines", "private key mismatch", "")
_NOT_REPLACING = (0x0A000121, "SSL routines", "not replacing certificate", "")


def read_mixed(file: str, content: bytes, warn: Callable[[str], None]) -> KeyedChain:
    """Read a file that is given both for the certificate and for its key.

    Args:
        file: its path.
        content: what is in it.
        warn: told what is passed over.

    Raises:
        ChainError: there is no key, or no certificate, or they do not fit.
    """
    key: KeyPlace | None = None
    certificates: list[bytes] = []
    for index, found in enumerate(_objects(content), 1):
        if found.kind in _CERTIFICATES:
            certificates.append(_certificate(found, file, index))
        elif found.kind in _KEYS and key is None:
            key = KeyPlace(_key(found, file, index), file, index)
        elif found.kind in _KEYS and key is not None:
            warn(f"ignoring 2nd key at index {index} in {file} after 1st at {key.index}")
    if key is None:
        raise ChainError(f"No private key found in {file}" if certificates else f"No PEM data in {file}")
    if not certificates:
        raise ChainError(f"No certs for {key}")
    chain = KeyedChain(key.key, tuple(certificates))
    if not fits(chain):
        raise ChainError(f"{key} does not match next certificate", [_MISMATCH])
    return chain


def read_certificates(content: bytes) -> tuple[bytes, ...] | None:
    """The certificates in a file, in DER, the one of the key first; None: there are none, or one is damaged."""
    try:
        found = [
            each for each in pem_objects(content) if each.kind in _CERTIFICATES or each.kind == b"TRUSTED CERTIFICATE"
        ]
        # What follows a trusted certificate says what it is trusted for, which is for nobody else to know.
        return (
            tuple(_certificate(PemObject(each.kind, each.data[: _length(each.data)]), "", 0) for each in found) or None
        )
    except (PemError, ChainError):
        return None


def read_key(content: bytes) -> crypto.PKey | None:
    """The first private key in a file; None: there is none, or it is encrypted or damaged."""
    try:
        found = next((each for each in pem_objects(content) if each.kind in _KEYS), None)
        return _key(found, "", 0) if found else None
    except (PemError, ChainError):
        return None


def fits(chain: KeyedChain) -> bool:
    """Whether a key belongs to the certificate of its chain."""
    certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, chain.certificates[0])
    trial = SSL.Context(SSL.TLS_CLIENT_METHOD)
    # A key that is weak by today's measure is still the one that was configured.
    set_ciphers(trial, "ALL:@SECLEVEL=0")
    return not use_certificate(trial, certificate) and not use_private_key(trial, chain.key)


def is_same_kind(chain: KeyedChain) -> bool:
    """Whether a key could belong to the certificate of its chain: both are RSA keys, or EC keys, ..."""
    certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, chain.certificates[0])
    return certificate.get_pubkey().type() == chain.key.type()


def _objects(content: bytes) -> Iterator[PemObject]:
    try:
        yield from pem_objects(content)
    except PemError as error:
        raise ChainError("", [(0, "PEM routines", str(error), "")]) from None


def _certificate(found: PemObject, file: str, index: int) -> bytes:
    what = f"error loading certificate (PEM object number {index}) from {file}"
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, found.data)
    except crypto.Error as error:
        raise ChainError(what, errors_of(error)) from None
    if _length(found.data) < len(found.data):
        raise ChainError(f"{what}: excess data")
    return found.data


def _key(found: PemObject, file: str, index: int) -> crypto.PKey:
    what = f"error loading private key (PEM object number {index}) from {file}"
    try:
        key = crypto.load_privatekey(crypto.FILETYPE_ASN1, found.data)
    except (crypto.Error, ValueError, TypeError) as error:
        raise ChainError(what, errors_of(error)) from None
    if _KEYS[found.kind] not in (None, key.type()):
        raise ChainError(what)
    if _length(found.data) < len(found.data):
        raise ChainError(f"{what}: excess data")
    return key


def _length(der: bytes) -> int:
    """How many octets the first element has."""
    try:
        return next((element.end for element in elements(der, 0, len(der))), 0)
    except DerError:
        return 0
