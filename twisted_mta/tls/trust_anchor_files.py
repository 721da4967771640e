"""Files with trust anchors, which take the place of the certification authorities.

Each certificate and each public key in a file counts as two TLSA records, which hold it whole: one for an issuer, one for the
server itself. What is in an object is looked at when it is used.

Flow: tls/policies.py asks for the anchors of a policy; tls/verification.py judges by them.
Sources: postconf(5) smtp_tls_trust_anchor_file, smtp_tls_policy_maps (tafile); RFC 6698 section 2.1; the log of a running
Postfix.
"""

import os
import stat
from collections.abc import Iterable

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TrustAnchorFileDamaged, TrustAnchorFileUnreadable, TrustAnchorLoaded
from twisted_mta.tls.pem import PemError, pem_objects
from twisted_mta.tls.policy import Association
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError
from twisted_mta.tls.record_text import record_text

_LARGEST_FILE = 8 * 1024 * 1024
"""Octets: all the authorities of the world take less than one megabyte."""

_MOST_FILES = 100
"""How many files are remembered."""

_ISSUER, _SERVER = 2, 3
_SELECTORS = {b"CERTIFICATE": 0, b"X509 CERTIFICATE": 0, b"PUBLIC KEY": 1}
_KINDS = {0: "cert", 1: "pkey"}

_Mark = tuple[int, int, int, int]


class TrustAnchorFiles:
    """Reads files; one that has not changed is not read again."""

    def __init__(self, directory: str, emit: Emit, *, tells: bool) -> None:
        """Remember nothing yet.

        Args:
            directory: where relative names begin: queue_directory.
            emit: takes events.
            tells: whether each anchor is told.
        """
        self._directory = directory
        self._emit = emit
        self._tells = tells
        self._known: dict[str, tuple[_Mark, tuple[Association, ...]]] = {}

    def load(self, names: Iterable[str]) -> tuple[Association, ...]:
        """Read files.

        Args:
            names: of files, in the order in which they are read.

        Returns:
            A pair of usage 2 and 3 for each object; empty if there are only objects of other kinds, such as private keys.

        Raises:
            TlsPolicyError: a file cannot be read, or is damaged, which has been told; or there is no object in it.
        """
        anchors: list[Association] = []
        for name in names:
            for anchor in self._read(name):
                anchors.append(anchor)
                if self._tells and anchor.usage == _ISSUER:
                    self._emit(TrustAnchorLoaded(_KINDS[anchor.selector], name, record_text(anchor)))
        return tuple(anchors)

    def _read(self, name: str) -> tuple[Association, ...]:
        try:
            with open(os.path.join(self._directory, name), "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                mark = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
                known = self._known.get(name)
                if known is not None and known[0] == mark:
                    return known[1]
                text = file.read(_LARGEST_FILE + 1) if stat.S_ISREG(status.st_mode) else b""
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._emit(TrustAnchorFileUnreadable(name, problem))
            raise TlsPolicyError(CONFIGURATION_PROBLEM) from None
        anchors = self._parse(name, text)
        if len(self._known) >= _MOST_FILES:
            self._known.clear()
        self._known[name] = mark, anchors
        return anchors

    def _parse(self, name: str, text: bytes) -> tuple[Association, ...]:
        try:
            if len(text) > _LARGEST_FILE:
                raise PemError("file is too large")
            objects = tuple(pem_objects(text))
        except PemError as error:
            self._emit(TrustAnchorFileDamaged(name, str(error)))
            raise TlsPolicyError(CONFIGURATION_PROBLEM) from None
        if not objects:
            # The policy as a whole is told to be unusable, and no more, as Postfix does.
            raise TlsPolicyError(CONFIGURATION_PROBLEM)
        return tuple(
            Association(usage, _SELECTORS[kind], 0, data)
            for kind, data in objects
            if kind in _SELECTORS
            for usage in (_ISSUER, _SERVER)
        )


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, should it be a pipe: there would be nothing in it."""
    return os.open(path, flags | os.O_NONBLOCK)
