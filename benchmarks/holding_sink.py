"""An SMTP server that accepts messages but answers none of them until it is told: it keeps sessions open.

Run as `python -m benchmarks.holding_sink ADDRESS PORT`. It prints `held=N` whenever one more message waits for the reply to
its end of data; SIGUSR1 makes it answer them all, and from then on at once.

Flow: sinks.py starts it, reads its count and sends the signal.
Sources: RFC 5321 sections 3.3 and 4.1.1.
"""

import asyncio
import signal
import sys
from collections.abc import Callable

_END_OF_DATA = b"\r\n.\r\n"
_ACCEPTED = b"250 2.0.0 Ok\r\n"
_REPLIES = {
    b"EHLO": b"250-sink.example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n",
    b"HELO": b"250 sink.example\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_UNKNOWN = b"502 5.5.2 Command not recognized\r\n"


class Gate:
    """Keeps replies back until it is opened."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._held = 0
        self._is_open = False

    def hold(self, reply: Callable[[], None]) -> None:
        """Call `reply` once the gate is open."""
        if self._is_open:
            reply()
            return
        self._waiting.append(reply)
        self._held += 1
        print(f"held={self._held}", flush=True)

    def open(self) -> None:
        """Let all replies go, and those to come."""
        self._is_open = True
        for reply in self._waiting:
            reply()
        self._waiting.clear()


class HoldingSession(asyncio.Protocol):
    """One session: commands are answered at once, the end of data when the gate lets it."""

    _transport: asyncio.Transport

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._pending = b""
        self._in_content = False
        self._is_held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Take commands or content."""
        self._pending += data
        self._go_on()

    def _go_on(self) -> None:
        # Replies keep the order of the commands: one that came with the end of the content has to wait, too.
        while not self._is_held and self._step():
            pass

    def _step(self) -> bool:
        """Take one command, or the rest of the content; False if that is not complete."""
        delimiter = _END_OF_DATA if self._in_content else b"\r\n"
        taken, found, rest = self._pending.partition(delimiter)
        if not found:
            # Of the content only what may be the beginning of its end is worth keeping.
            self._pending = taken[1 - len(delimiter) :] if self._in_content else taken
            return False
        self._pending = rest
        if self._in_content:
            self._in_content = False
            self._is_held = True
            self._gate.hold(self._accept)
        else:
            self._command(taken[:4].upper())
        return True

    def _command(self, verb: bytes) -> None:
        self._transport.write(_REPLIES.get(verb, _UNKNOWN))
        if verb == b"DATA":
            self._in_content = True
            self._pending = b"\r\n" + self._pending  # the dot may be the first line
        elif verb == b"QUIT":
            self._transport.close()

    def _accept(self) -> None:
        self._transport.write(_ACCEPTED)
        self._is_held = False
        self._go_on()


async def _serve(address: str, port: int) -> None:
    gate = Gate()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, gate.open)
    server = await loop.create_server(lambda: HoldingSession(gate), address, port, backlog=1024)
    print("held=0", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
