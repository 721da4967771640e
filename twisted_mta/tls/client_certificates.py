"""Our own certificates, for servers that ask for one.

They are read once, and live in memory: a context that is made later needs no file, which only root may be able to read.

Flow: tls/engine.py loads them at its start; tls/contexts.py puts them into each context.
Sources: postconf(5) smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_dcert_file, smtp_tls_eccert_file and their keys;
SSL_CTX_use_certificate_chain_file(3); the warnings of smtp(8) about such files.
"""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from OpenSSL import SSL

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import ClientCertificateProblem
from twisted_mta.tls.chain_files import (
    ChainError,
    KeyedChain,
    fits,
    is_same_kind,
    read_certificates,
    read_chains,
    read_key,
    read_mixed,
)
from twisted_mta.tls.library import use_private_key
from twisted_mta.tls.library_error import LibraryError
from twisted_mta.tls.telling import tell_library_errors

_LARGEST_FILE = 4 * 1024 * 1024
"""Octets of a file; nothing larger is a certificate chain."""


_Reader = Callable[[str], bytes]
"""Gives what is in a file."""


class ClientCertificatesError(Exception):
    """They cannot be used, which has been told."""


class ClientCertificates:
    """The certificates of this client, at most one for each kind of key."""

    def __init__(self, chains: Sequence[KeyedChain] = ()) -> None:
        """Take the chains; the last one is what servers before TLS 1.3 get."""
        self._chains = tuple(chains)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._chains)

    @property
    def chains(self) -> tuple[tuple[bytes, ...], ...]:
        """The certificates of each key, in DER, its own first."""
        return tuple(chain.certificates for chain in self._chains)

    @property
    def rsa_bits(self) -> int:
        """The size of the RSA key; 0: there is none."""
        return max((chain.rsa_bits for chain in self._chains), default=0)

    @classmethod
    def from_settings(cls, settings: Settings, emit: Emit) -> "ClientCertificates":
        """Load what is configured.

        Raises:
            ClientCertificatesError: something is wrong with it, and has been told.
        """
        read = partial(_read, settings.queue_directory)
        if settings.smtp_tls_chain_files:
            name = settings.parameter_name("smtp_tls_chain_files")
            return cls(_from_chain_files(settings.smtp_tls_chain_files, settings.expanded(name) or "", read, emit))
        pairs = (
            ("RSA", settings.smtp_tls_cert_file, settings.smtp_tls_key_file),
            ("DSA", settings.smtp_tls_dcert_file, settings.smtp_tls_dkey_file),
            ("ECDSA", settings.smtp_tls_eccert_file, settings.smtp_tls_eckey_file),
        )
        chains = [
            _from_one_file(certificate, read, emit)
            if certificate == key
            else _from_two_files(kind, certificate, key, read, emit)
            for kind, certificate, key in pairs
            if certificate
        ]
        return cls(chains)

    def put_into(self, context: SSL.Context) -> None:
        """Have a context, not yet used, show them; its security level must allow for their keys.

        Raises:
            SSL.Error: it does not.
        """
        for chain in self._chains:
            with _file_in_memory(_pem(chain.certificates)) as path:
                # The only call that gives each certificate a chain of its own.
                context.use_certificate_chain_file(path)
            if errors := use_private_key(context, chain.key):
                raise SSL.Error(errors)


def _from_chain_files(paths: Sequence[str], where: str, read: _Reader, emit: Emit) -> list[KeyedChain]:
    try:
        files = [(path, _content(path, read, emit)) for path in paths]
    except ClientCertificatesError:
        # As smtp(8) has it: this costs us our certificates, all of them, but not TLS.
        return []
    try:
        return read_chains(files, partial(_warn, emit))
    except ChainError as error:
        raise _told(error, where, emit) from None


def _from_one_file(path: str, read: _Reader, emit: Emit) -> KeyedChain:
    try:
        return read_mixed(path, _content(path, read, emit), partial(_warn, emit))
    except ChainError as error:
        raise _told(error, path, emit) from None


def _warn(emit: Emit, text: str) -> None:
    emit(ClientCertificateProblem(text))


def _content(path: str, read: _Reader, emit: Emit) -> bytes:
    try:
        return read(path)
    except IsADirectoryError:
        return b""  # it can be opened, and nothing is in it
    except OSError as error:
        emit(ClientCertificateProblem(f"error opening chain file: {path}: {error.strerror}"))
        raise ClientCertificatesError from None


def _told(error: ChainError, where: str, emit: Emit) -> ClientCertificatesError:
    if error.problem:
        emit(ClientCertificateProblem(error.problem))
    tell_library_errors(error.errors, emit)
    emit(ClientCertificateProblem(f"error loading private keys and certificates from: {where}: disabling TLS support"))
    return ClientCertificatesError()


def _from_two_files(kind: str, certificate_file: str, key_file: str, read: _Reader, emit: Emit) -> KeyedChain:
    cannot = f'cannot get {kind} %s from file "%s": disabling TLS support'
    certificates = read_certificates(_part(certificate_file, cannot % ("certificate", certificate_file), read, emit))
    if certificates is None:
        raise _without(cannot % ("certificate", certificate_file), (), emit)
    key = read_key(_part(key_file, cannot % ("private key", key_file), read, emit))
    if key is None:
        raise _without(cannot % ("private key", key_file), (), emit)
    chain = KeyedChain(key, certificates)
    if not is_same_kind(chain):
        problem = (
            f"{kind} private key in {key_file} does not match public key in {certificate_file}: disabling TLS support"
        )
        raise _without(problem, (), emit)
    if not fits(chain):
        raise _without(cannot % ("private key", key_file), [_MISMATCH], emit)
    return chain


# What the library says of such a key, or would if it were asked.
_MISMATCH = (0x05800074, "x509 certificate routines", "key values mismatch", "")
_NOT_OPENED = (
    (0x10080002, "BIO routines", "system lib", ""),
    (0x0A080002, "SSL routines", "system lib", ""),
)


def _part(path: str, cannot: str, read: _Reader, emit: Emit) -> bytes:
    try:
        return read(path)
    except OSError as error:
        number = 0x80000000 | (error.errno or 0)
        known = (number, "system library", str(error.strerror), f"calling fopen({path}, r)")
        raise _without(cannot, (known, *_NOT_OPENED), emit) from None


def _without(problem: str, errors: Sequence[LibraryError], emit: Emit) -> ClientCertificatesError:
    emit(ClientCertificateProblem(problem))
    tell_library_errors(errors, emit)
    return ClientCertificatesError()


def _read(folder: str, path: str) -> bytes:
    with open(os.path.join(folder, path), "rb") as file:
        return file.read(_LARGEST_FILE)


def _pem(certificates: Sequence[bytes]) -> bytes:
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % base64.encodebytes(der) for der in certificates
    )


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """The path of a file with this content, as long as it is needed. Certificates are no secret; keys never come here."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        number = os.memfd_create("certificates")
        try:
            with open(number, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
