"""TLS with MySQL servers: what the parameters of a table, and an options file, want of it.

Flow: mysql.py reads it when a table is opened, and connects with its context.
Sources: mysql_table(5) tls_...; the manual of MariaDB, "TLS and Connectors"; a running postmap(1), whose words are used.
"""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from twisted_mta.tables.source_parameters import SourceParameters

_ANOTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


@dataclass(slots=True)
class MysqlTls:
    """What is wanted of TLS. It is used if anything is set, and then it must be.

    Attributes:
        authority_file: its certificates are trusted; servers are verified if this or the next one is set.
        authority_directory: likewise.
        certificate: the client's.
        key: of that.
        ciphers: as OpenSSL has them.
        verifies_name: whether the server's certificate must have its name.
    """

    authority_file: str = ""
    authority_directory: str = ""
    certificate: str = ""
    key: str = ""
    ciphers: str = ""
    verifies_name: bool = False
    _context: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def read(cls, parameters: SourceParameters, options: Mapping[str, str]) -> "MysqlTls":
        """Read the parameters, and what they leave open from an options file.

        Raises:
            ConfigError: one makes no sense.
        """

        def text(name: str, option: str) -> str:
            return parameters.text(name) or options.get(option, "")

        # An options file counts more here: the library reads it last. A number other than zero says yes, nothing else does.
        asks = options.get("ssl-verify-server-cert", "").lstrip("0")[:1].isdigit()
        tls = cls(
            text("tls_CAfile", "ssl-ca"),
            text("tls_CApath", "ssl-capath"),
            text("tls_cert_file", "ssl-cert"),
            text("tls_key_file", "ssl-key"),
            text("tls_ciphers", "ssl-cipher"),
            parameters.boolean("tls_verify_cert", False) or asks,
        )
        if tls.is_wanted:
            # Now root may be there to read a key; if a file is wrong, that is told when it is needed.
            with suppress(OSError):
                tls.context()
        return tls

    @property
    def is_wanted(self) -> bool:
        """Whether to use TLS."""
        texts = (self.authority_file, self.authority_directory, self.certificate, self.key, self.ciphers)
        return self.verifies_name or any(texts)

    def context(self) -> ssl.SSLContext:
        """What connections are made with; once its files could be read, they are not read again.

        Raises:
            OSError: a file cannot be used; also as ssl.SSLError.
        """
        if self._context is None:
            self._context = self._make_context()
        return self._context

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        has_authority = bool(self.authority_file or self.authority_directory)
        context.check_hostname = self.verifies_name
        context.verify_mode = ssl.CERT_REQUIRED if has_authority or self.verifies_name else ssl.CERT_NONE
        if has_authority:
            context.load_verify_locations(self.authority_file or None, self.authority_directory or None)
        elif self.verifies_name:
            context.set_default_verify_paths()
        if self.certificate or self.key:
            context.load_cert_chain(self.certificate or self.key, self.key or None)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


def tls_problem(error: OSError) -> str:
    """What is wrong, in the words of MariaDB's library."""
    if isinstance(error, ssl.SSLCertVerificationError):
        is_name = error.verify_code in _ANOTHER_NAME
        words = "Validation of SSL server certificate failed" if is_name else error.verify_message
    elif isinstance(error, ssl.SSLError):
        # Python has words of its own for ciphers, and a reason for all else.
        words = str(getattr(error, "reason", "no cipher match")).replace("_", " ").lower()
    else:
        words = f"{error.strerror} ({error.errno})"
    return f"TLS/SSL error: {words}"
