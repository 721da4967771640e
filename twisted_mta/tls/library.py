"""What OpenSSL can do and pyOpenSSL does not offer: the one module that calls its bindings directly.

These names are private to pyOpenSSL and cryptography. Each is looked for when this module is imported; `missing()` names what
cannot be done without them, for one warning, and the functions do as well as they can.

Flow: the other modules of tls/ call these functions.
Sources: the manual pages of OpenSSL named at the functions.
"""

import os
from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from twisted_mta.tls.library_error import LibraryError

# ---- what is there ----

_NEEDS = {
    "bits of ciphers": ("SSL_CIPHER_get_bits", "SSL_get_current_cipher"),
    "chains of certificates": (
        "X509_STORE_set_purpose",
        "X509_PURPOSE_SSL_SERVER",
        "X509_STORE_set_flags",
        "X509_STORE_CTX_new",
        "X509_STORE_CTX_init",
        "X509_STORE_CTX_free",
        "X509_STORE_CTX_get_error",
        "X509_STORE_CTX_get_error_depth",
        "X509_STORE_CTX_get1_chain",
        "X509_verify_cert",
        "sk_X509_new_null",
        "sk_X509_push",
        "sk_X509_num",
        "sk_X509_value",
        "sk_X509_free",
    ),
    "channel bindings of TLS 1.2": ("SSL_get_extms_support",),
    "error numbers": ("ERR_get_error", "ERR_GET_REASON", "ERR_lib_error_string", "ERR_reason_error_string"),
    "key exchange groups": ("SSL_CTX_set1_curves_list", "OBJ_txt2nid"),
    "session cache": ("i2d_SSL_SESSION", "d2i_SSL_SESSION", "SSL_SESSION_free", "SSL_session_reused"),
    "shared authorities": ("SSL_CTX_get_cert_store", "SSL_CTX_set_cert_store", "X509_STORE_up_ref"),
    "signatures": ("SSL_CTX_set_msg_callback",),
    "results of verification": ("SSL_get_verify_result", "SSL_get_peer_certificate", "X509_free"),
    "texts of verification": (
        "X509_verify_cert_error_string",
        "X509_NAME_oneline",
        "X509_get_issuer_name",
        "X509_get_subject_name",
    ),
}

_MISSING = frozenset(use for use, names in _NEEDS.items() if not all(hasattr(lib, name) for name in names))


def missing() -> tuple[str, ...]:
    """What cannot be done with the libraries that are installed; nothing with those that this package asks for."""
    return tuple(sorted(_MISSING))


OP_ALL: int = getattr(lib, "SSL_OP_ALL", 0x80000850)
"""The workarounds that are on by default (SSL_CTX_set_options(3))."""

# ---- errors ----

_SYSTEM = 0x80000000
_SYSTEM_LIB, _BIO_LIB = 2, 32  # ERR_R_SYS_LIB and ERR_R_BIO_LIB, without what they share
_ALERTS = range(1000, 1256)


class NumberedError(SSL.Error):
    """An error of the library whose numbers are still known.

    Attributes:
        errors: what was in the queue, oldest first.
    """

    def __init__(self, errors: list[LibraryError]) -> None:
        super().__init__([(library, "", reason) for _, library, reason, _ in errors])
        self.errors = errors


def clear_errors() -> None:
    """Forget what OpenSSL noted in passing: a later call would be blamed for it (ERR_clear_error(3))."""
    lib.ERR_clear_error()


def pop_errors(path: str = "") -> list[LibraryError]:
    """Take all errors from OpenSSL's queue, oldest first (ERR_get_error(3)).

    Args:
        path: the file that was to be opened, if any: what the system says is about it.
    """
    found = []
    while number := lib.ERR_get_error():
        found.append(_described(number, path))
    return found


def errors_of(error: Exception) -> list[LibraryError]:
    """What is known of an error that pyOpenSSL raised; with numbers where it came from a Connection of this module."""
    if isinstance(error, NumberedError):
        return error.errors
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [(0, entry[0], entry[-1], "") for entry in entries]


def _described(number: int, path: str) -> LibraryError:
    library = _text(lib.ERR_lib_error_string(number))
    if number & _SYSTEM:
        return number, library, os.strerror(number & ~_SYSTEM), f"calling fopen({path}, r)" if path else ""
    reason, words = lib.ERR_GET_REASON(number), _text(lib.ERR_reason_error_string(number))
    if library == "SSL routines" and reason in _ALERTS:
        # OpenSSL 3.2 gave the alerts that SSL 3.0 had already new names; those who watch logs know the old ones.
        for new in ("ssl/tls alert ", "tls alert "):
            if words.startswith(new):
                words = "sslv3 alert " + words.removeprefix(new)
        return number, library, words, f"SSL alert number {reason - _ALERTS.start}"
    if library == "x509 certificate routines" and words == "BIO lib":
        # OpenSSL 4 names another of its parts where a file cannot be opened; those who watch logs know the old one.
        return number - _BIO_LIB + _SYSTEM_LIB, library, "system lib", ""
    return number, library, words, ""


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode("ascii", "replace") if pointer else ""


# ---- connections ----


class Connection(SSL.Connection):
    """The client's end of a connection over memory, ready to shake hands.

    Attributes:
        subject: whose connection it is, for callbacks.
        server_scheme: the signature scheme (RFC 8446 section 4.2.3) by which the server proved to have its key; None: it is
            not known. Only where its context was prepared by `note_signatures`.
        client_scheme: the same for us.
        is_shaken: whether the handshake is over; whoever judges it says so.
    """

    def __init__(self, context: SSL.Context, subject: Any = None) -> None:
        """Prepare.

        Args:
            context: what shapes it; that cannot be changed any more.
            subject: whose connection it is.
        """
        super().__init__(context, None)
        self.subject = subject
        self.server_scheme: int | None = None
        self.client_scheme: int | None = None
        self.is_shaken = False
        self.set_connect_state()

    def heard(self) -> bytes:
        """Application data that has come, no more than one record of it (SSL_read(3)); empty: there is none for now.

        Raises:
            SSL.ZeroReturnError: the other side has said farewell.
            SSL.Error: what has come is not right.
        """
        # pyOpenSSL's `recv` makes a buffer each time, and an exception of nothing.
        length = lib.SSL_read(self._ssl, _BUFFER, _BUFFER_OCTETS)
        if length > 0:
            return bytes(ffi.buffer(_BUFFER, length))
        if not is_only_waiting(self, length):
            self._raise_ssl_error(self._ssl, length)
        return b""

    def spoken(self) -> bytes:
        """What is to be sent, at most 64 KiB of it (BIO_read(3)); empty: nothing."""
        length = lib.BIO_read(self._from_ssl, _BUFFER, _BUFFER_OCTETS)
        return ffi.buffer(_BUFFER, length)[:] if length > 0 else b""

    def _raise_ssl_error(self, ssl: Any, result: int) -> None:
        # pyOpenSSL takes errors from the queue and forgets their numbers.
        if result <= 0 and _HAS_ERROR_NUMBERS and lib.SSL_get_error(ssl, result) == lib.SSL_ERROR_SSL:
            errors = pop_errors()
            if errors:
                raise NumberedError(errors)
        super()._raise_ssl_error(ssl, result)


_BUFFER_OCTETS = 64 * 1024
_BUFFER = ffi.new("char[]", _BUFFER_OCTETS)  # for one call at a time, and in one thread, the reactor's

_HAS_ERROR_NUMBERS = "error numbers" not in _MISSING and hasattr(SSL.Connection, "_raise_ssl_error")

_HANDSHAKE = 22
_CERTIFICATE_VERIFY = 15


def note_signatures(context: SSL.Context) -> None:
    """Have the connections of a context know by which scheme each side signed (SSL_CTX_set_msg_callback(3)).

    Only the messages themselves tell the digest.
    """
    if "signatures" not in _MISSING:
        lib.SSL_CTX_set_msg_callback(context._context, _on_message)


def _message_passed(outgoing: int, _: int, content: int, data: Any, length: int, ssl: Any, __: Any) -> None:
    if content != _HANDSHAKE or length < 6:
        return
    start = ffi.buffer(data, 6)[:]
    if start[0] != _CERTIFICATE_VERIFY:
        return
    connection = SSL.Connection._reverse_mapping.get(ssl)
    if isinstance(connection, Connection):
        scheme = int.from_bytes(start[4:6], "big")
        if outgoing:
            connection.client_scheme = scheme
        else:
            connection.server_scheme = scheme


# It must live as long as any context does: OpenSSL would call into nothing.
_on_message = ffi.callback("void(int, int, int, const void *, size_t, SSL *, void *)", _message_passed)


def cipher_bits(connection: SSL.Connection) -> tuple[int, int]:
    """How many bits of the cipher's key count, and how many there are (SSL_CIPHER_get_bits(3))."""
    if "bits of ciphers" in _MISSING:
        bits = connection.get_cipher_bits() or 0
        return bits, bits
    all_bits = ffi.new("int *")
    used = lib.SSL_CIPHER_get_bits(lib.SSL_get_current_cipher(connection._ssl), all_bits)
    return used, all_bits[0]


def is_only_waiting(connection: SSL.Connection, result: int) -> bool:
    """Whether what a call gave back only means that the other side's octets are waited for (SSL_get_error(3))."""
    return lib.SSL_get_error(connection._ssl, result) in (lib.SSL_ERROR_WANT_READ, lib.SSL_ERROR_WANT_WRITE)


def has_extended_master_secret(connection: SSL.Connection) -> bool:
    """Whether what is exported from a TLS 1.2 connection is bound to it (RFC 7627; SSL_get_extms_support(3))."""
    return "channel bindings of TLS 1.2" not in _MISSING and bool(lib.SSL_get_extms_support(connection._ssl) == 1)


# ---- contexts ----


def set_ciphers(context: SSL.Context, names: str) -> list[LibraryError]:
    """Offer these ciphers of TLS 1.2 and before (SSL_CTX_set_cipher_list(3)).

    Args:
        context: not used yet.
        names: a list in the words of openssl-ciphers(1).

    Returns:
        Empty if that went well, otherwise what went wrong.
    """
    if lib.SSL_CTX_set_cipher_list(context._context, names.encode("utf-8", "surrogateescape")) == 1:
        clear_errors()
        return []
    return pop_errors()


def set_groups(context: SSL.Context, names: str) -> bool:
    """Offer these key exchange groups, in this order (SSL_CTX_set1_curves_list(3)).

    Args:
        context: not used yet.
        names: between colons.

    Returns:
        Whether they are all known and supported; otherwise nothing has changed.
    """
    if "key exchange groups" in _MISSING:
        return False
    done = bool(lib.SSL_CTX_set1_curves_list(context._context, names.encode("ascii", "replace")) == 1)
    clear_errors()
    return done


def is_known_name(name: str) -> bool:
    """Whether the library has heard of a curve or group, even if it cannot use it (OBJ_txt2nid(3))."""
    if "key exchange groups" in _MISSING or "." in name:  # numbers of objects are no names
        return False
    known = bool(lib.OBJ_txt2nid(name.encode("ascii", "replace")))
    clear_errors()
    return known


def load_authorities(context: SSL.Context, file: str, directory: str, folder: str = "") -> list[LibraryError] | None:
    """Trust what a file and a directory hold (SSL_CTX_load_verify_locations(3)).

    Args:
        context: not used yet.
        file: path of a PEM file; empty: none.
        directory: path of a directory with links by hash, looked at as certificates are needed; empty: none. There may be
            several, between colons.
        folder: where relative paths begin; empty: in the working directory.

    Returns:
        None if that went well, otherwise what went wrong.
    """
    # Nothing between two colons stays nothing, which OpenSSL passes over.
    directories = os.pathsep.join(os.path.join(folder, each) if each else "" for each in directory.split(os.pathsep))
    paths = (os.path.join(folder, file) if file else "", directories)
    arguments = [os.fsencode(path) if path else ffi.NULL for path in paths]
    if lib.SSL_CTX_load_verify_locations(context._context, *arguments) == 1:
        clear_errors()
        return None
    return pop_errors(file or directory)


def share_authorities(source: SSL.Context, target: SSL.Context) -> None:
    """Have a context trust what another one trusts, from the same memory (SSL_CTX_set_cert_store(3)).

    Raises:
        SSL.Error: there is no store.
    """
    store = lib.SSL_CTX_get_cert_store(source._context)
    lib.X509_STORE_up_ref(store)  # the target takes this reference over
    lib.SSL_CTX_set_cert_store(target._context, store)


CAN_SHARE_AUTHORITIES = "shared authorities" not in _MISSING
"""Whether `share_authorities` works."""


def use_certificate(context: SSL.Context, certificate: crypto.X509) -> list[LibraryError]:
    """Have a context show a certificate of ours (SSL_CTX_use_certificate(3)).

    Args:
        context: not used yet.
        certificate: ours.

    Returns:
        Empty if that went well, otherwise what went wrong.
    """
    return [] if lib.SSL_CTX_use_certificate(context._context, certificate._x509) == 1 else pop_errors()


def use_private_key(context: SSL.Context, key: crypto.PKey) -> list[LibraryError]:
    """Have a context prove that the certificate of this key, used before, is ours (SSL_CTX_use_PrivateKey(3)).

    pyOpenSSL would have keys of the library cryptography, which reads fewer of them.

    Args:
        context: not used yet.
        key: that of the last certificate.

    Returns:
        Empty if that went well, otherwise what went wrong.
    """
    if (
        lib.SSL_CTX_use_PrivateKey(context._context, key._pkey) == 1
        and lib.SSL_CTX_check_private_key(context._context) == 1
    ):
        return []
    return pop_errors()


# ---- certificates ----


def leaf_of(connection: SSL.Connection) -> bytes | None:
    """The server's own certificate, in DER; None: it has shown none."""
    certificate = connection.get_peer_certificate()
    return None if certificate is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def chain_of(connection: SSL.Connection) -> list[bytes]:
    """The server's certificates as it sent them, its own first, in DER; empty: it has shown none."""
    chain = connection.get_peer_cert_chain() or []
    return [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain]


def has_certificate(connection: SSL.Connection) -> bool:
    """Whether the server has shown a certificate (SSL_get_peer_certificate(3))."""
    if not CAN_TELL_TRUST:
        return connection.get_peer_certificate() is not None
    certificate = lib.SSL_get_peer_certificate(connection._ssl)
    if certificate == ffi.NULL:
        return False
    lib.X509_free(certificate)
    return True


CAN_TELL_TRUST = "results of verification" not in _MISSING
"""Whether `is_trusted` works."""


def is_trusted(connection: SSL.Connection) -> bool:
    """Whether the library found nothing wrong with the certificates, or there are none (SSL_get_verify_result(3))."""
    return bool(lib.SSL_get_verify_result(connection._ssl) == _VERIFIED)


_VERIFIED = 0  # X509_V_OK


def verification_error_text(code: int) -> str:
    """What OpenSSL says of an error in a certificate chain (X509_verify_cert_error_string(3))."""
    if "texts of verification" in _MISSING:
        return "certificate verification error"
    return _text(lib.X509_verify_cert_error_string(code))


def name_on_one_line(certificate: crypto.X509, *, issuer: bool = False) -> str:
    """The subject of a certificate, or its issuer, as in ``/C=IS/CN=Some Root`` (X509_NAME_oneline(3))."""
    if "texts of verification" in _MISSING:
        return ""
    take = lib.X509_get_issuer_name if issuer else lib.X509_get_subject_name
    text = ffi.new("char[]", _LONGEST_ONE_LINE)
    return _text(lib.X509_NAME_oneline(take(certificate._x509), text, len(text)))


_LONGEST_ONE_LINE = 256

CAN_BUILD_CHAINS = "chains of certificates" not in _MISSING
"""Whether `build_chain` works."""

_PARTIAL_CHAIN = 0x80000
_NO_CHECK_TIME = 0x200000


def build_chain(
    leaf: crypto.X509, others: Sequence[crypto.X509], anchors: Sequence[crypto.X509]
) -> tuple[int, int, list[crypto.X509]]:
    """Build a chain up to the first anchor, and verify all of it but dates (X509_verify_cert(3)).

    Args:
        leaf: the certificate of a server.
        others: what the chain may be built of.
        anchors: what is trusted; it need not have signed itself.

    Returns:
        The first error and its depth, 0 and 0 if there is none; the chain as far as it was built, `leaf` first.
    """
    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(anchor)
    lib.X509_STORE_set_flags(store._store, _PARTIAL_CHAIN | _NO_CHECK_TIME)
    lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_SERVER)
    stack = ffi.gc(lib.sk_X509_new_null(), lib.sk_X509_free)
    for other in others:
        lib.sk_X509_push(stack, other._x509)  # `others` outlives the stack
    context = ffi.gc(lib.X509_STORE_CTX_new(), lib.X509_STORE_CTX_free)
    if lib.X509_STORE_CTX_init(context, store._store, leaf._x509, stack) != 1:
        clear_errors()
        return _UNSPECIFIED, 0, [leaf]
    verified = lib.X509_verify_cert(context)
    error, depth = lib.X509_STORE_CTX_get_error(context), lib.X509_STORE_CTX_get_error_depth(context)
    clear_errors()
    chain = _taken(lib.X509_STORE_CTX_get1_chain(context)) or [leaf]
    return (0, 0, chain) if verified == 1 else (error or _UNSPECIFIED, depth, chain)


_UNSPECIFIED = 1


def _taken(stack: Any) -> list[crypto.X509]:
    """The certificates of a stack that is ours; they stay when it goes."""
    if stack == ffi.NULL:
        return []
    found = [crypto.X509._from_raw_x509_ptr(lib.sk_X509_value(stack, at)) for at in range(lib.sk_X509_num(stack))]
    lib.sk_X509_free(stack)
    return found


# ---- sessions ----

CAN_KEEP_SESSIONS = "session cache" not in _MISSING
"""Whether the functions about sessions work."""


def dump_session(connection: SSL.Connection) -> bytes | None:
    """A connection's session in DER, as it is now (i2d_SSL_SESSION(3)); None: there is none."""
    session = connection.get_session()
    if session is None:
        return None
    length = lib.i2d_SSL_SESSION(session._session, ffi.NULL)
    if length <= 0:
        clear_errors()
        return None
    data = ffi.new("unsigned char[]", length)
    lib.i2d_SSL_SESSION(session._session, ffi.new("unsigned char **", data))
    return bytes(ffi.buffer(data, length))


def load_session(connection: SSL.Connection, der: bytes) -> bool:
    """Have a connection take up a session, if the server likes it still (d2i_SSL_SESSION(3), SSL_set_session(3)).

    Returns:
        Whether the library likes it.
    """
    data = ffi.new("unsigned char[]", der)
    raw = lib.d2i_SSL_SESSION(ffi.NULL, ffi.new("const unsigned char **", data), len(der))
    if raw == ffi.NULL:
        clear_errors()
        return False
    session = SSL.Session.__new__(SSL.Session)
    session._session = ffi.gc(raw, lib.SSL_SESSION_free)
    session._context = connection.get_context()
    try:
        connection.set_session(session)
    except SSL.Error:
        clear_errors()
        return False
    return True


def was_resumed(connection: SSL.Connection) -> bool:
    """Whether the server took the session up (SSL_session_reused(3))."""
    return CAN_KEEP_SESSIONS and bool(lib.SSL_session_reused(connection._ssl))
