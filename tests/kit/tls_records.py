"""Records of TLS made by hand, for servers that say what OpenSSL would never say.

    end = RecordServer()                              # shakes hands as an honest server does
    end.take(octets of the client), end.out()         # until `end.is_shaken`
    end.records()                                     # from then on: records of any kind, in the keys of the connection
    end.record(HANDSHAKE, KEY_UPDATE)                 # one record; its octets

Flow: tests of session/secure_transport.py against hostile servers.
Sources: RFC 8446 sections 5.2, 7.1 to 7.3, B.3.5; RFC 5246 sections 5, 6.2.3.3, 6.3; RFC 5288 section 3.
"""

import hmac
from collections.abc import Callable, Iterable
from hashlib import sha384

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL, crypto

from tests.kit.pki import Identity, shared_pki

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
"""Types of records."""

HELLO_REQUEST = b"\0\0\0\0"
KEY_UPDATE = b"\x18\0\0\x01\0"
KEY_UPDATE_REQUESTED = b"\x18\0\0\x01\x01"
WARNING = 1
FATAL = 2
USER_CANCELED = 90
NO_RENEGOTIATION = 100
UNRECOGNIZED_NAME = 112
CLOSE_NOTIFY = 0
INTERNAL_ERROR = 80

TLS1_2, TLS1_3 = 0x0303, 0x0304
_TLS13_CIPHER = b"TLS_AES_256_GCM_SHA384"
_TLS12_CIPHERS = b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
_OCTETS = 65536


def plain_record(kind: int, content: bytes, *, version: int = TLS1_2) -> bytes:
    """A record before there are keys."""
    return bytes([kind]) + version.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def message(kind: int, body: bytes) -> bytes:
    """A handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def new_session_ticket(number: int) -> bytes:
    """A ticket of TLS 1.3 that nobody will ever honour."""
    nonce, ticket = number.to_bytes(4, "big"), b"ticket" * 30
    parts = (b"\0\0\x0e\x10", b"\0\0\0\0", b"\x04" + nonce, len(ticket).to_bytes(2, "big") + ticket, b"\0\0")
    return message(4, b"".join(parts))


class RecordServer:
    """A server's end in memory; its handshake is OpenSSL's, what comes afterwards is whatever one likes.

    Attributes:
        connection: of OpenSSL.
        heard: application data of the client's.
        version: of TLS.
    """

    def __init__(
        self,
        version: int = TLS1_3,
        identity: Identity | None = None,
        prepare: Callable[[SSL.Context], object] = lambda _: None,
    ) -> None:
        """Wait for a client.

        Args:
            version: TLS1_2 or TLS1_3.
            identity: its certificate.
            prepare: changes what shapes its connection.
        """
        identity = identity or shared_pki()["valid"]
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(_TLS12_CIPHERS)
        context.set_tls13_ciphersuites(_TLS13_CIPHER)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_id(b"records")
        context.set_keylog_callback(self._note_secret)
        leaf, *issuers = identity.chain
        context.use_certificate(crypto.X509.from_cryptography(leaf))
        context.use_privatekey(crypto.PKey.from_cryptography_key(identity.key))
        for issuer in issuers:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(issuer))
        prepare(context)
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.version = version
        self.heard = b""
        self.is_shaken = False
        self._secret = b""
        self._key = b""
        self._salt = b""
        self._number = 0

    def _note_secret(self, _: SSL.Connection, line: bytes) -> None:
        label, _random, secret = line.split()
        if label == b"SERVER_TRAFFIC_SECRET_0":
            self._secret = bytes.fromhex(secret.decode())

    # ---- OpenSSL's part ----

    def take(self, data: bytes) -> bytes:
        """Octets of the client's come; gives what OpenSSL answers."""
        if data:
            self.connection.bio_write(data)
        try:
            if not self.is_shaken:
                self.connection.do_handshake()
                self.is_shaken = True
            while True:
                self.heard += self.connection.recv(_OCTETS)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            pass
        return self.out()

    def out(self) -> bytes:
        """What OpenSSL has to send."""
        pieces = [b""]
        while True:
            try:
                pieces.append(self.connection.bio_read(_OCTETS))
            except SSL.WantReadError:
                return b"".join(pieces)

    # ---- what is made by hand ----

    def record(self, kind: int, content: bytes, *, padding: int = 0) -> bytes:
        """A record in the keys of the connection; OpenSSL must say nothing more from now on."""
        if not self._key:
            self._take_over()
        number, self._number = self._number, self._number + 1
        if self.version == TLS1_2:
            nonce = number.to_bytes(8, "big")
            head = nonce + plain_record(kind, content)[:5]
            return plain_record(kind, nonce + AESGCM(self._key).encrypt(self._salt + nonce, content, head))
        plain = content + bytes([kind]) + bytes(padding)
        head = bytes([APPLICATION]) + TLS1_2.to_bytes(2, "big") + (len(plain) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._salt, "big") ^ number).to_bytes(12, "big")
        return head + AESGCM(self._key).encrypt(nonce, plain, head)

    def records(self, contents: Iterable[tuple[int, bytes]]) -> bytes:
        """Several of them; each KeyUpdate changes the keys behind it."""
        pieces = []
        for kind, content in contents:
            pieces.append(self.record(kind, content))
            if kind == HANDSHAKE and content[:1] == KEY_UPDATE[:1]:
                self._update()
        return b"".join(pieces)

    def say(self, text: str) -> bytes:
        """Application data."""
        return self.record(APPLICATION, text.encode())

    def _take_over(self) -> None:
        """Go on with OpenSSL's keys where it left off."""
        assert self.is_shaken
        if self.version == TLS1_3:
            self._use(self._secret)
            self._number = 2  # OpenSSL has sent two tickets
            return
        secret, ours, theirs = (
            self.connection.master_key(),
            self.connection.server_random(),
            self.connection.client_random(),
        )
        assert secret and ours and theirs
        block = _prf(secret, b"key expansion" + ours + theirs, 72)
        self._key, self._salt = block[32:64], block[68:72]
        self._number = 1  # behind Finished

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self._salt = _expanded(secret, b"key", 32), _expanded(secret, b"iv", 12)
        self._number = 0

    def _update(self) -> None:
        self._use(_expanded(self._secret, b"traffic upd", 48))


def _expanded(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without a context (RFC 8446 section 7.1), of no more than one digest."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\x01"
    return hmac.digest(secret, info, sha384)[:length]


def _prf(secret: bytes, seed: bytes, length: int) -> bytes:
    """The PRF of TLS 1.2 (RFC 5246 section 5)."""
    out, state = b"", seed
    while len(out) < length:
        state = hmac.digest(secret, state, sha384)
        out += hmac.digest(secret, state + seed, sha384)
    return out[:length]
