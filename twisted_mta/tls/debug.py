"""The steps of the TLS library, and dumps of what goes over the network, for the log.

Flow: tls/engine.py has contexts watched, and connections dumped, where smtp_tls_loglevel asks for it.
Sources: postconf(5) smtp_tls_loglevel; SSL_CTX_set_info_callback(3); SSL_alert_desc_string(3); RFC 8446 section 6; BIO_dump(3).
"""

from collections.abc import Callable, Iterator

from OpenSSL import SSL

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsAlert, TlsDumpLine, TlsStep
from twisted_mta.tls.library import Connection, is_only_waiting
from twisted_mta.tls.loglevel import LogClass

# ---- steps ----

_CLOSE_NOTIFY = 0

_SEVERITIES = {1: "warning", 2: "fatal"}

_ALERTS = {
    10: "unexpected_message",
    20: "bad record mac",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown CA",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    60: "export restriction",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    90: "user canceled",
    100: "no renegotiation",
    110: "unsupported extension",
    111: "certificate unobtainable",
    112: "unrecognized name",
    113: "bad certificate status response",
    114: "bad certificate hash value",
    115: "unknown PSK identity",
    120: "no application protocol",
}
"""What alerts mean, in the words of OpenSSL 3.0, with which logs have been written for years; it has none for those of TLS 1.3.
What breaks a connection is told again, and better, as a problem of the library."""


def tell_steps(context: SSL.Context, emit: Emit) -> None:
    """Have each step of a context's connections told.

    Args:
        context: not used yet.
        emit: takes the steps.
    """
    context.set_info_callback(_step_teller(emit))


def _step_teller(emit: Emit) -> Callable[[SSL.Connection, int, int], None]:
    def step(connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_LOOP:
            emit(TlsStep(_state(connection)))
        elif where & SSL.SSL_CB_ALERT:
            if value & 0xFF != _CLOSE_NOTIFY:
                direction = "read" if where & SSL.SSL_CB_READ else "write"
                severity = _SEVERITIES.get(value >> 8, "unknown")
                emit(TlsAlert(direction, severity, _ALERTS.get(value & 0xFF, "unknown")))
        elif where & SSL.SSL_CB_EXIT:
            if value == 0:
                emit(TlsStep(f"failed in {_state(connection)}"))
            elif value < 0 and not is_only_waiting(connection, value):
                tell_broken_step(connection, emit)

    return step


def tell_broken_step(connection: SSL.Connection, emit: Emit) -> None:
    """Tell the step at which a handshake cannot go on."""
    emit(TlsStep(f"error in {_state(connection)}"))


def _state(connection: SSL.Connection) -> str:
    return connection.get_state_string().decode("ascii", "replace")


# ---- dumps ----

_DUMPS = LogClass.HANDSHAKE_DUMP | LogClass.SESSION_DUMP
_ROW = 16
_HALF = 8


def dumping_connection(classes: LogClass, emit: Emit) -> type[Connection]:
    """The kind of connection that dumps what these classes of lines ask for.

    Args:
        classes: of lines that are wanted.
        emit: takes the lines.
    """
    if not classes & _DUMPS:
        return Connection

    class DumpingConnection(Connection):
        """A connection whose octets are told, to the end of the handshake or of the session."""

        def bio_read(self, bufsiz: int) -> bytes:
            """Take what is to be sent."""
            data = super().bio_read(bufsiz)
            self._tell("write to", data)
            return data

        def spoken(self) -> bytes:
            """The same, another way."""
            data = super().spoken()
            if data:
                self._tell("write to", data)
            return data

        def bio_write(self, buf: "bytes | bytearray | memoryview[int]") -> int:
            """Give what was received."""
            self._tell("read from", bytes(buf))
            return super().bio_write(buf)

        def _tell(self, doing: str, data: bytes) -> None:
            if classes & LogClass.SESSION_DUMP or not self.is_shaken:
                emit(TlsDumpLine(_heading(doing, id(self), data)))
                for line in dump_lines(data):
                    emit(TlsDumpLine(line))

    return DumpingConnection


def _heading(doing: str, place: int, data: bytes) -> str:
    size = len(data)
    return f"{doing} {place:08X} [{id(data):08X}] ({size} bytes => {size} (0x{size:X}))"


def dump_lines(data: bytes) -> Iterator[str]:
    """Octets as hexadecimal digits and as characters, 16 a line; blanks and zeros at the end are only counted."""
    shown = data.rstrip(b" \0")
    for at in range(0, len(shown), _ROW):
        row = shown[at : at + _ROW]
        digits = "".join(f"{octet:02x}{'|' if number == _HALF - 1 else ' '}" for number, octet in enumerate(row))
        letters = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in row)
        yield f"{at:04x} {digits:<{3 * _ROW}} {letters[:_HALF]}{' ' if len(row) > _HALF else ''}{letters[_HALF:]}"
    if len(shown) < len(data):
        yield f"{len(data):04x} - <SPACES/NULLS>"
