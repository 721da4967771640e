"""What the sessions of an engine have in common, as one digest: another configuration, or another authority, is another digest.

Within a process that is plain: each engine has a memory of its own. What is kept outside of it another engine will find, after a
restart or in another worker, so that the keys of sessions must say all that an engine goes by: the parameters, and what the
files that they name hold.

Flow: tls/engine.py asks for the digest where sessions are kept outside of the process, and puts it into each key.
Sources: postconf(5) for the parameters; SSL_CTX_load_verify_locations(3), SSL_CTX_set_default_verify_paths(3).
"""

import itertools
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from twisted_mta.config.parameter import Kind
from twisted_mta.config.parameters_tls import TlsLibraryRows, TlsRows
from twisted_mta.config.settings import Settings
from twisted_mta.tls.canonical import digest_of
from twisted_mta.tls.client_certificates import ClientCertificates

IMMATERIAL = frozenset(
    {
        "smtp_tls_block_early_mail_reply",
        "smtp_tls_connection_reuse",
        "smtp_tls_loglevel",
        "smtp_tls_note_starttls_offer",
        "tls_daemon_random_bytes",
        "tls_fast_shutdown_enable",
        "tlsmgr_service_name",
    }
)
"""Parameters that change neither what is demanded of a server, nor how it is judged. All others count, also new ones."""

MOST_FILES = 2000
MOST_OCTETS = 16 * 1024 * 1024
"""More than that of authorities is not read to tell one configuration from another: sessions stay in the process then."""

_BY_HASH = re.compile(r"[0-9a-f]{8}\.r?[0-9]+")
"""The names that OpenSSL looks for in a directory."""


class _TooMuchError(Exception):
    """There is too much to be read, or nobody knows what."""


def authorities_digest(settings: Settings) -> str | None:
    """A digest of what certification authorities there are now; None: there is too much of them.

    Args:
        settings: name them.
    """
    named = [(settings.smtp_tls_CAfile, settings.smtp_tls_CApath)]
    try:
        if settings.tls_append_default_CA:
            named += _of_the_system()
        return digest_of(tuple(_contents(named, settings.queue_directory)))
    except _TooMuchError:
        return None


def scope_of(settings: Settings, certificates: ClientCertificates, authorities: str) -> str:
    """The digest of all that an engine goes by.

    Args:
        settings: all of its parameters.
        certificates: those of ours.
        authorities: the digest of those that were there before they were loaded.

    Returns:
        The digest; empty: the authorities have changed since then, so that nobody knows which ones were loaded.
    """
    if authorities_digest(settings) != authorities:
        return ""
    rows = (*TlsRows.rows, *TlsLibraryRows.rows)
    names = (row.name for row in rows if row.kind is not Kind.LEGACY and row.name not in IMMATERIAL)
    return digest_of(
        (
            SSL.OPENSSL_VERSION_NUMBER,
            SSL.SSLeay_version(SSL.SSLEAY_VERSION),
            _content(Path(os.environ.get("OPENSSL_CONF", ""))),
            settings.protocol,
            settings.enable_idna2003_compatibility,
            tuple((name, getattr(settings, name)) for name in names),
            certificates.chains,
            authorities,
        )
    )


def _of_the_system() -> list[tuple[str, str]]:
    """Where the system's authorities may be: places that OpenSSL knows, and those that pyOpenSSL looks into besides."""
    try:
        files: Iterable[Any] = SSL._CERTIFICATE_FILE_LOCATIONS
        directories: Iterable[Any] = SSL._CERTIFICATE_PATH_LOCATIONS
    except AttributeError:
        raise _TooMuchError from None
    usual = ssl.get_default_verify_paths()
    files = (os.environ.get(usual.openssl_cafile_env, ""), usual.openssl_cafile, *files)
    directories = (*os.environ.get(usual.openssl_capath_env, "").split(os.pathsep), usual.openssl_capath, *directories)
    return [(os.fsdecode(file), "") for file in files] + [("", os.fsdecode(directory)) for directory in directories]


def _contents(named: Iterable[tuple[str, str]], folder: str) -> Iterator[tuple[str, str | None]]:
    """The paths of files, and the digest of each; None: it cannot be read, so that OpenSSL cannot either.

    Raises:
        _TooMuchError: from the iterator.
    """
    octets = 0
    for number, path in enumerate(_paths(named, folder)):
        content = _content(path)
        octets += len(content or b"")
        if number >= MOST_FILES or octets > MOST_OCTETS:
            raise _TooMuchError
        yield str(path), None if content is None else digest_of(content)


def _paths(named: Iterable[tuple[str, str]], folder: str) -> Iterator[Path]:
    for file, directories in named:
        if file:
            yield Path(folder, file)
        for directory in filter(None, directories.split(os.pathsep)):
            yield Path(folder, directory)
            by_hash = (entry for entry in _entries(Path(folder, directory)) if _BY_HASH.fullmatch(entry.name))
            yield from sorted(itertools.islice(by_hash, MOST_FILES + 1))


def _entries(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                yield Path(entry.path)
    except OSError:
        return


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MOST_OCTETS + 1)
    except OSError:
        return None
