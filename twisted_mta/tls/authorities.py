"""Certification authorities: loaded once, shared by all contexts.

Flow: tls/engine.py loads them at its start.
Sources: postconf(5) smtp_tls_CAfile, smtp_tls_CApath, tls_append_default_CA; SSL_CTX_load_verify_locations(3).
"""

from OpenSSL import SSL

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import AuthoritiesUnusable
from twisted_mta.tls.library import CAN_SHARE_AUTHORITIES, load_authorities, share_authorities
from twisted_mta.tls.telling import tell_library_errors


class AuthoritiesError(Exception):
    """They cannot be loaded, which has been told."""


class Authorities:
    """What is trusted to say who a server is; without files and directories nobody is."""

    def __init__(
        self, file: str = "", directory: str = "", *, folder: str = "", with_system: bool = False, emit: Emit
    ) -> None:
        """Load the file; the directory is looked into when a certificate is needed.

        Args:
            file: path of a PEM file; empty: none.
            directory: path of a directory with links by hash; empty: none.
            folder: where relative paths begin.
            with_system: whether the system's authorities are trusted, too; only besides others.
            emit: told what is wrong.

        Raises:
            AuthoritiesError: something is, and has been told.
        """
        self._file = file
        self._directory = directory
        self._folder = folder
        self._with_system = with_system
        self._emit = emit
        self._holder = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._load(self._holder)

    @classmethod
    def from_settings(cls, settings: Settings, emit: Emit) -> "Authorities":
        """Those that are configured.

        Raises:
            AuthoritiesError: they cannot be loaded.
        """
        return cls(
            settings.smtp_tls_CAfile,
            settings.smtp_tls_CApath,
            folder=settings.queue_directory,
            with_system=settings.tls_append_default_CA,
            emit=emit,
        )

    def trusted_by(self, context: SSL.Context) -> None:
        """Have a context, not yet used, trust them."""
        if not (self._file or self._directory):
            return
        if CAN_SHARE_AUTHORITIES:
            share_authorities(self._holder, context)
        else:
            self._load(context)

    def _load(self, context: SSL.Context) -> None:
        if not (self._file or self._directory):
            return
        errors = load_authorities(context, self._file, self._directory, self._folder)
        if errors is not None:
            named = (("CAfile", self._file), ("CApath", self._directory))
            self._emit(AuthoritiesUnusable(", ".join(f'{name}="{path}"' for name, path in named if path)))
            tell_library_errors(errors, self._emit)
            raise AuthoritiesError
        if self._with_system:
            context.set_default_verify_paths()
