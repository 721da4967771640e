"""An SMTP server that takes mail inside TLS only, counts it and forgets it; made to be quicker than the clients it is used for.

Run as `python -m benchmarks.tls_sink ADDRESS PORT DIRECTORY`; the directory is for its certificate. It prints `mesg=N` soon after
the count has changed.

Flow: sinks.py starts it and reads its count.
Sources: RFC 3207; RFC 5321 sections 3.3 and 4.1.1; smtp-sink(1), whose output this follows.
"""

import asyncio
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_END_OF_DATA = b"\r\n.\r\n"
_KEYWORDS = b"250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
_REPLIES = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_UNKNOWN = b"502 5.5.2 Command not recognized\r\n"
_CLEARTEXT = b"530 5.7.0 Must issue a STARTTLS command first\r\n"
_REPORT_SECONDS = 0.01
_READ_OCTETS = 64 * 1024


class Counter:
    """Messages so far; told to whoever reads stdout, but not for each."""

    def __init__(self) -> None:
        self._count = 0
        self._is_due = False

    def add(self) -> None:
        """One more."""
        self._count += 1
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_REPORT_SECONDS, self.report)

    def report(self) -> None:
        """Tell how many there are."""
        self._is_due = False
        print(f"mesg={self._count}", flush=True)


class TlsSession(asyncio.Protocol):
    """One session."""

    _transport: asyncio.Transport

    def __init__(self, context: ssl.SSLContext, counter: Counter) -> None:
        self._context = context
        self._counter = counter
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._is_shaken = False
        self._pending = b""
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Take octets, in the clear or of TLS."""
        if self._tls is None:
            self._pending += data
        else:
            self._incoming.write(data)
            self._read(self._tls)
        replies = []
        while (reply := self._step()) is not None:
            replies.append(reply)
        self._say(b"".join(replies))

    def _read(self, tls: ssl.SSLObject) -> None:
        try:
            if not self._is_shaken:
                tls.do_handshake()
                self._is_shaken = True
            while data := tls.read(_READ_OCTETS):
                self._pending += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._transport.close()
        self._send()

    def _say(self, data: bytes) -> None:
        if not data:
            return
        if self._tls is None:
            self._transport.write(data)
            if data.endswith(b"Ready to start TLS\r\n"):
                self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        else:
            self._tls.write(data)
            self._send()
        if data.endswith(_REPLIES[b"QUIT"]):
            self._transport.close()

    def _send(self) -> None:
        if data := self._outgoing.read():
            self._transport.write(data)

    def _step(self) -> bytes | None:
        """The reply to one command, or to the content; None: it is not complete."""
        delimiter = _END_OF_DATA if self._in_content else b"\r\n"
        taken, found, rest = self._pending.partition(delimiter)
        if not found:
            # Of the content only what may be the beginning of its end is worth keeping.
            self._pending = taken[1 - len(delimiter) :] if self._in_content else taken
            return None
        self._pending = rest
        if not self._in_content:
            return self._command(taken[:4].upper())
        self._in_content = False
        self._counter.add()
        return b"250 2.0.0 Ok\r\n"

    def _command(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            offer = b"250-STARTTLS\r\n" if self._tls is None else b""
            return b"250-sink.example\r\n" + offer + _KEYWORDS
        if self._tls is None and verb != b"QUIT":
            return b"220 2.0.0 Ready to start TLS\r\n" if verb == b"STAR" else _CLEARTEXT
        if verb == b"DATA":
            self._in_content = True
            self._pending = b"\r\n" + self._pending  # the dot may be the first line
        return _REPLIES.get(verb, _UNKNOWN)


def server_context(directory: Path) -> ssl.SSLContext:
    """A context with a new P-256 certificate, whose file goes to a directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = directory / "sink.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def _serve(address: str, port: int, directory: Path) -> None:
    context, counter = server_context(directory), Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: TlsSession(context, counter), address, port, backlog=1024)
    counter.report()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
