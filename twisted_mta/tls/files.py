"""The files that TLS was made ready from, watched for changes: certificates are renewed while the service runs.

Flow: generations.py makes one for each configuration, and asks it before requests.
Sources: postconf(5) for the parameters named in `TlsFiles.from_settings`; smtp(8), whose processes read them when they begin.
"""

import os
from collections.abc import Iterable

from twisted_mta.config.settings import Settings

_Stamp = tuple[int, int, int]


class TlsFiles:
    """Some files, as they were when this was made."""

    def __init__(self, paths: Iterable[str], folder: str = "") -> None:
        """Look at the files.

        Args:
            paths: of files; empty ones are none.
            folder: where relative paths begin.
        """
        self._folder = folder
        self._stamps = {path: self._stamp(path) for path in paths if path}

    @classmethod
    def from_settings(cls, settings: Settings) -> "TlsFiles":
        """The files with keys, certificates and authorities; OpenSSL itself looks at smtp_tls_CApath anew each time."""
        return cls(
            (
                settings.smtp_tls_CAfile,
                *settings.smtp_tls_trust_anchor_file,
                *settings.smtp_tls_chain_files,
                settings.smtp_tls_cert_file,
                settings.smtp_tls_key_file,
                settings.smtp_tls_dcert_file,
                settings.smtp_tls_dkey_file,
                settings.smtp_tls_eccert_file,
                settings.smtp_tls_eckey_file,
            ),
            settings.queue_directory,
        )

    def changed(self) -> str:
        """The path of a file that is another one now; empty: none is.

        One that is gone may be just being replaced, and one that only root can see was not touched as far as we know: neither
        has changed.
        """
        for path, former in self._stamps.items():
            found = self._stamp(path)
            if found is not None and found != former:
                return path
        return ""

    def _stamp(self, path: str) -> _Stamp | None:
        try:
            status = os.stat(os.path.join(self._folder, path))
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
