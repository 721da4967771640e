"""What a finished handshake has come to.

Flow: tls/engine.py makes one; session/ and delivery/ go by it; tls/summary.py tells it.
Sources: RFC 8446; the "TLS connection established" lines of smtp(8).
"""

from dataclasses import dataclass

from twisted_mta.tls.levels import Level


@dataclass(frozen=True, slots=True)
class TlsState:
    """TLS as it is in force on a connection.

    Attributes:
        level: what was demanded in the end: DANE without usable records becomes encrypt.
        protocol: such as ``TLSv1.3``.
        cipher: such as ``TLS_AES_256_GCM_SHA384``.
        used_bits: of the cipher, that count.
        cipher_bits: of the cipher.
        has_certificate: whether the server showed one.
        trusted: whether its chain leads to something trusted.
        matched: whether it proved to be the server that it should be; only ever at levels that demand it.
        secured: matched, and nothing on the way there was insecure.
        resumed: whether an earlier session was taken up.
        details: what TLS 1.3 lines say of key exchange and signatures, with a space in front; else, and where
            nobody wants these lines, empty.
    """

    level: Level
    protocol: str
    cipher: str
    used_bits: int
    cipher_bits: int
    has_certificate: bool
    trusted: bool
    matched: bool
    secured: bool
    resumed: bool = False
    details: str = ""

    @property
    def serves(self) -> bool:
        """Whether mail may go over this connection."""
        return self.matched or not self.level.must_match
