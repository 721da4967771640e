"""Steps of the library, and dumps."""

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import SERVER, EngineBench, policy
from twisted_mta.tls.debug import dump_lines
from twisted_mta.tls.levels import Level


class StepTests(SynchronousTestCase):
    """smtp_tls_loglevel = ssl-debug."""

    def test_steps(self) -> None:
        """Each step of the library is told, from the first to the server's tickets; waiting is no step."""
        bench = EngineBench(smtp_tls_loglevel="ssl-debug")
        bench.shake(TlsServer(shared_pki()["valid"]), policy())
        steps = bench.log
        self.assertEqual(steps[0], "SSL_connect:before SSL initialization")
        self.assertEqual(steps[1], "SSL_connect:SSLv3/TLS write client hello")
        self.assertIn("SSL_connect:SSLv3/TLS read server session ticket", steps)
        self.assertTrue(all(step.startswith("SSL_connect:") for step in steps), steps)
        self.assertFalse([step for step in steps if " in " in step], steps)

    def test_alerts(self) -> None:
        """An alert is told by what it means, and so is where the library gave up."""
        bench = EngineBench(smtp_tls_loglevel="ssl-debug")
        server = TlsServer(shared_pki()["valid"], versions=(SSL.TLS1_3_VERSION, 0))
        self.assertRaises(SSL.Error, bench.shake, server, policy(protocols="<=TLSv1.2"))
        self.assertEqual(
            bench.log[-4:],
            [
                "SSL3 alert read:fatal:protocol version",
                "SSL_connect:error in error",
                f"SSL_connect error to {SERVER}: -1",
                "warning: TLS library problem: error:0A00042E:SSL routines::tlsv1 alert protocol version:"
                "SSL alert number 70:",
            ],
        )

    def test_name(self) -> None:
        """The name that is asked for is told."""
        bench = EngineBench(smtp_tls_loglevel="ssl-debug")
        bench.begin(policy(servername="mx.example"))
        self.assertEqual(bench.log, [f"{SERVER}: SNI hostname: mx.example"])


class DumpTests(SynchronousTestCase):
    """Dumps of what goes over the network."""

    def dumps(self, level: str) -> list[str]:
        """The headings of the dumps of a session."""
        bench = EngineBench(smtp_tls_loglevel=level)
        bench.shake(TlsServer(shared_pki()["valid"]), policy(Level.ENCRYPT))
        return [line for line in bench.log if " bytes => " in line]

    def test_extent(self) -> None:
        """The handshake alone, or the whole session."""
        handshake, session = self.dumps("ssl-handshake-packet-dump"), self.dumps("ssl-session-packet-dump")
        self.assertRegex(
            handshake[0], r"\Awrite to [0-9A-F]{8,} \[[0-9A-F]{8,}\] \((\d+) bytes => \1 \(0x[0-9A-F]+\)\)\Z"
        )
        self.assertRegex(handshake[1], r"\Aread from ")
        self.assertGreater(len(session), len(handshake))

    def test_form(self) -> None:
        """Rows of 16 octets, split in halves; blanks and zeros at the end are only counted."""
        self.assertEqual(
            list(dump_lines(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x03,\xf3`\xaef\xf6\x81+Y \0\0")),
            [
                "0000 16 03 01 02 00 01 00 01|fc 03 03 03 2c f3 60 ae  ........ ....,.`.",
                "0010 66 f6 81 2b 59                                   f..+Y",
                "0018 - <SPACES/NULLS>",
            ],
        )
        self.assertEqual(list(dump_lines(b"")), [])

    @settings(deadline=None, max_examples=50)
    @given(st.binary(max_size=70))
    def test_any_octets(self, octets: bytes) -> None:
        """The octets can be read out of the lines again, and no line holds any that could do harm."""
        lines = list(dump_lines(octets))
        self.assertTrue(all(line.isascii() and line.isprintable() for line in lines))
        rows = [line for line in lines if "<SPACES" not in line]
        read = b"".join(bytes.fromhex(line[5:53].replace("|", " ")) for line in rows)
        self.assertEqual(read, octets.rstrip(b" \0"))
