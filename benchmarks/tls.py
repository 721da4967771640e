"""What TLS costs: handshakes alone, in memory, and mail over new TLS connections next to Postfix's smtp(8).

Run as root: ``python -m benchmarks.tls [--handshakes N] [OPTIONS OF throughput.py]``. The first figures are those of one
processor, without a network, a log or a queue; CPU time of the client's side alone. The table behind them is made as
benchmarks/throughput.py makes it, in the same run.

Flow: a person runs this; `measure` shakes hands, program.py does the rest.
Sources: RFC 8446 section 2.2 (resumption); postconf(5) smtp_tls_session_cache_database.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from benchmarks.namespace import run_inside
from benchmarks.waiting import BenchmarkError
from tests.kit.pki import HOST, shared_pki
from tests.kit.server_tls import server_context
from twisted_mta.config.settings import load_settings
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.engine import Handshake, TlsEngine
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy

_PEER = Peer(HOST, "192.0.2.1", f"{HOST}[192.0.2.1]", f"{HOST}[192.0.2.1]:25", "dest.example")
_POLICY = TlsPolicy(Level.MAY, protocols=">=TLSv1")
_OCTETS = 64 * 1024

ROWS = ("starttls", "starttls-resumed", "starttls-kept")
"""Rows of benchmarks/throughput.py."""

KINDS = (("valid", 0, "P-256, TLS 1.3"), ("valid", 0x0303, "P-256, TLS 1.2"), ("rsa", 0, "RSA, TLS 1.3"))
"""Keys by the names of the test PKI, versions as OpenSSL counts them, and how the report calls them."""


def handshakes_per_second(count: int, key: str, *, resumed: bool, version: int = 0) -> float:
    """How many handshakes the client's side does in a second of one processor.

    Args:
        count: how many to do.
        key: kind of the server's key, by the names of the test PKI.
        resumed: whether each takes up an earlier session.
        version: of TLS, as OpenSSL counts them; 0: the newest.

    Raises:
        BenchmarkError: sessions were taken up where they should not, or the other way round.
    """
    settings = load_settings(
        None,
        overrides=[
            ("smtp_tls_security_level", "may"),
            ("smtp_tls_loglevel", "1"),
            ("smtp_tls_session_cache_database", "btree:sessions" if resumed else ""),
        ],
    )
    engine = TlsEngine.from_settings(settings, lambda event: None, Clock())
    if engine is None:
        raise BenchmarkError("there is no TLS engine")
    context = server_context(shared_pki()[key], version=version)
    spent = 0.0
    for number in range(count + 1):
        seconds, was_resumed = _shake(engine, context)
        if number:  # the first one makes the context, and the session to be taken up
            spent += seconds
            if was_resumed != resumed:
                raise BenchmarkError(f"handshake {number}: resumed is {was_resumed}")
    return count / spent


def _shake(engine: TlsEngine, context: SSL.Context) -> tuple[float, bool]:
    """One handshake, and a word of the server's; the client's CPU seconds, and whether a session was taken up."""
    server = SSL.Connection(context, None)
    server.set_accept_state()
    began = time.process_time()
    found: list[Handshake] = []
    Deferred.fromCoroutine(engine.begin(_POLICY, _PEER, HOST)).addCallback(found.append)
    handshake, spent = found[0], time.process_time() - began
    client = handshake.connection
    state = None
    while state is None:
        began = time.process_time()
        try:
            client.do_handshake()
            state = handshake.completed()
        except SSL.WantReadError:
            pass
        spoken = _spoken(client)
        spent += time.process_time() - began
        if spoken:
            server.bio_write(spoken)
        _quietly(server.do_handshake)
        if answered := _spoken(server):
            client.bio_write(answered)
    server.sendall(b"250 mx\r\n")
    client.bio_write(_spoken(server))
    began = time.process_time()
    client.recv(_OCTETS)
    handshake.application_data_came()
    _quietly(client.shutdown)
    handshake.closed()
    return spent + time.process_time() - began, state.resumed


def _quietly(step: Callable[[], object]) -> None:
    with contextlib.suppress(SSL.WantReadError):
        step()


def _spoken(connection: SSL.Connection) -> bytes:
    pieces = [b""]
    while True:
        try:
            pieces.append(connection.bio_read(_OCTETS))
        except SSL.WantReadError:
            return b"".join(pieces)


def main(arguments: list[str]) -> int:
    """Measure, and print.

    Returns:
        The exit status: 0, or 1 if something could not be measured.
    """
    parser = argparse.ArgumentParser(prog="benchmarks/tls.py", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--handshakes", type=int, default=1000, metavar="N", help="of each kind (default: %(default)s)")
    given, rest = parser.parse_known_args(arguments)
    try:
        for key, version, name in KINDS:
            full, resumed = (
                handshakes_per_second(given.handshakes, key, resumed=resumed, version=version)
                for resumed in (False, True)
            )
            print(f"{name:16} full {full:7,.0f}/s   resumed {resumed:7,.0f}/s of client CPU", flush=True)
        return run_inside("benchmarks.comparison", ["--only", *ROWS, *rest])
    except BenchmarkError as error:
        print(f"tls.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
