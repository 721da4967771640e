"""Channel bindings: bytes that both ends of a TLS connection know, and nobody between them.

Flow: tls/handshake.py gives them to sasl/.
Sources: RFC 5929 sections 3 and 4 (tls-unique, tls-server-end-point); RFC 9266 (tls-exporter); RFC 7627 section 5.4.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from twisted_mta.tls.library import has_extended_master_secret

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_OCTETS = 32


def channel_binding(connection: SSL.Connection, kind: str, *, resumed: bool) -> bytes | None:
    """The binding of one kind, after the handshake.

    Args:
        connection: a client's.
        kind: ``tls-exporter``, ``tls-unique`` or ``tls-server-end-point``; others are not known.
        resumed: whether an earlier session was taken up.

    Returns:
        The data; None: this connection has no such binding.
    """
    if kind == "tls-exporter":
        return _exporter(connection)
    if kind == "tls-unique":
        return _unique(connection, resumed=resumed)
    if kind == "tls-server-end-point":
        return _server_end_point(connection)
    return None


def _exporter(connection: SSL.Connection) -> bytes | None:
    # RFC 9266 3: before TLS 1.3 only with an extended master secret, or a man in the middle could have the same data.
    if connection.get_protocol_version() < SSL.TLS1_3_VERSION and not has_extended_master_secret(connection):
        return None
    return connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b"")


def _unique(connection: SSL.Connection, *, resumed: bool) -> bytes | None:
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        return None
    if not resumed:
        return connection.get_finished()
    # RFC 7627 5.4: a man in the middle of two sessions with one master secret has them both taken up with the same messages.
    if not has_extended_master_secret(connection):
        return None
    # RFC 5929 3.1: the first Finished message, which the server sends where a session is taken up.
    return connection.get_peer_finished()


def _server_end_point(connection: SSL.Connection) -> bytes | None:
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return None
    try:
        certificate = leaf.to_cryptography()
        return certificate.fingerprint(_end_point_digest(certificate))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # there is no end to what servers call a certificate


def _end_point_digest(certificate: x509.Certificate) -> hashes.HashAlgorithm:
    """RFC 5929 4.1: the digest of the signature, SHA-256 instead of weaker ones."""
    digest = certificate.signature_hash_algorithm
    if digest is None or isinstance(digest, hashes.MD5 | hashes.SHA1):
        return hashes.SHA256()
    return digest
