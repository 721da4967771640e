"""TLS sessions that outlive the process, with the real tlsmgr(8)."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from tests.interop.agents import RootServiceAgent
from tests.interop.case import needs_own_service
from tests.interop.test_tls import SERVER, ZONE, TlsCase
from tests.kit.pki import HOST, shared_pki
from tests.kit.server_tls import server_context
from tests.kit.smtp_server import ScriptedServer
from twisted_mta.config.settings import salvage_settings
from twisted_mta.ipc.installed import postfix_version
from twisted_mta.ipc.tlsmgr import TlsManager
from twisted_mta.model.events import Event
from twisted_mta.postfix.services import PrivateServices
from twisted_mta.tls.session_cache import SECONDS_BETWEEN_WRITES
from twisted_mta.tls.session_key import LONGEST_ID
from twisted_mta.tls.session_record import LONGEST_SESSION

POSTFIX = "theirs"
"""A transport of Postfix's own smtp(8)."""

SETTINGS = {
    "smtp_tls_security_level": "verify",
    "smtp_tls_loglevel": "cache, summary",
    "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
    "smtp_tls_session_cache_timeout": "1000s",
    "smtp_dns_support_level": "enabled",
    "transport_maps": f"inline:{{ {{theirs.example={POSTFIX}:dest.example}} }}",
}


class SessionCase(TlsCase):
    """A server that notes which sessions are taken up, and a Postfix with tlsmgr(8)."""

    zone: Mapping[str, Mapping[str, Any]] = ZONE

    async def begin_with_server(self, *, options: Sequence[str] = (), **settings: str) -> None:
        """Start it all; `options` are those of our service."""
        needs_own_service()
        self.name_server(self.zone)
        self.mx: ScriptedServer = await self.server(
            SERVER, hostname=HOST, keywords=("PIPELINING", "STARTTLS"), tls=server_context(shared_pki()["valid"])
        )
        await self.begin(
            {**SETTINGS, "smtp_tls_CAfile": self.authorities(), **settings},
            options=options,
            routes={},
            services=f"{POSTFIX} unix - - n - - smtp\n",
        )

    async def again(self) -> None:
        """Start our service anew."""
        await self.service.stop()
        await self.service.start()

    async def resumed(self, recipient: str = "one@dest.example") -> bool:
        """Send a message, which must be taken; whether an earlier session was taken up, by the server's word."""
        before = len(self.mx.sessions)
        (line,) = await self.send_each(recipient)
        self.assertIn("status=sent", line)
        (session,) = self.mx.sessions[before:]
        assert session.handshake is not None
        return session.handshake.reused

    def tlsmgr(self, *parts: str) -> list[str]:
        """Lines in the log that come from it."""
        return self.postfix.log("tlsmgr[", *parts)


class RestartTests(SessionCase):
    """One process after the other."""

    async def test_restart(self) -> None:
        """The session of a process is taken up by the next one, with its verdict; each tells so as smtp(8) does."""
        await self.begin_with_server()
        self.assertFalse(await self.resumed())
        await self.again()
        self.assertTrue(await self.resumed())
        self.assertEqual(len(self.postfix.log("Verified TLS connection established")), 2)
        await self.again()
        self.assertTrue(await self.resumed())
        ours = [line.partition(": ")[2].split(" session ")[0] for line in self.postfix.log("smtp cache")]
        first, later = ["looking for", "save"], ["looking for", "reloaded", "save"]
        self.assertEqual(ours, first + 2 * later)
        self.assertTrue(self.tlsmgr(f"put smtp session id=twisted_mta:1&agent&dest.example&{HOST}&{SERVER}&&&"))
        self.assertEqual(self.postfix.log("warning"), [])

    async def test_killed(self) -> None:
        """So it is after an end without any warning."""
        await self.begin_with_server()
        await self.resumed()
        await self.service.kill()
        await self.service.start()
        self.assertTrue(await self.resumed())

    async def test_other_authorities(self) -> None:
        """Another content of the same CAfile, and nobody has proved anything; with the first one again, the session counts."""
        folder = self.directory / "trusted"
        folder.mkdir(mode=0o755)
        trusted = folder / "roots.pem"
        root = shared_pki().root.certificate_pem
        both = root + shared_pki().other_root.certificate_pem

        def trust(pem: bytes) -> None:
            trusted.write_bytes(pem)
            trusted.chmod(0o644)

        trust(root)
        await self.begin_with_server(smtp_tls_CAfile=str(trusted))
        self.assertFalse(await self.resumed())
        trust(both)
        await self.again()
        self.assertFalse(await self.resumed())
        trust(root)
        await self.again()
        self.assertTrue(await self.resumed())

    async def test_other_policies(self) -> None:
        """Another level, other names, other ciphers or our own certificate: the server has to prove itself anew."""
        await self.begin_with_server()
        self.assertFalse(await self.resumed())
        usual = {
            "smtp_tls_security_level": "verify",
            "smtp_tls_verify_cert_match": "hostname",
            "smtp_tls_mandatory_ciphers": "medium",
            "smtp_tls_chain_files": "",
        }
        for settings in (
            {"smtp_tls_security_level": "may"},
            {"smtp_tls_verify_cert_match": "hostname, nexthop"},
            {"smtp_tls_mandatory_ciphers": "high"},
            {"smtp_tls_chain_files": str(self.certificates("client").both)},
        ):
            self.postfix.configure({**usual, **settings})
            await self.again()
            self.assertFalse(await self.resumed(), settings)
        self.postfix.configure(usual)
        await self.again()
        self.assertTrue(await self.resumed())

    async def test_unverified(self) -> None:
        """A server that did not prove who it is has to try again with the next process: nothing is kept for that one."""
        await self.begin_with_server(smtp_tls_CAfile="")
        for again in (False, True):
            if again:
                await self.again()
            (line,) = await self.send_each("one@dest.example")
            self.assertIn("Server certificate not verified", line)
        self.assertEqual(
            [session.handshake and session.handshake.reused for session in self.mx.sessions], [False, False]
        )
        self.assertEqual(self.tlsmgr("put smtp session"), [])

    async def test_off(self) -> None:
        """With a time of 0 tlsmgr(8) is not even asked."""
        await self.begin_with_server(smtp_tls_session_cache_timeout="0")
        self.assertEqual([await self.resumed(), await self.resumed()], [False, False])
        self.assertEqual(self.tlsmgr(), [])


class TlsmgrTests(SessionCase):
    """What becomes of mail when tlsmgr(8) does odd things."""

    def pids(self) -> list[int]:
        """The processes of tlsmgr(8)."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")[0]
                except OSError:
                    continue
                if command == b"tlsmgr":
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """End it without any warning."""
        (pid,) = self.pids()
        os.kill(pid, signal.SIGKILL)

    async def test_killed(self) -> None:
        """It is killed, and comes back without its sessions: ours go on from memory, and are there for the next process."""
        await self.begin_with_server()
        await self.resumed()
        self.kill()
        await self.postfix.pause(SECONDS_BETWEEN_WRITES)
        self.assertTrue(await self.resumed())
        await self.again()
        self.assertTrue(await self.resumed())
        await self.service.stop()
        self.kill()
        await self.service.start()
        self.assertFalse(await self.resumed())
        self.assertTrue(await self.resumed())

    async def test_stopped(self) -> None:
        """It hangs: mail goes out after a moment, with a full handshake, and one warning tells why."""
        await self.begin_with_server()
        await self.resumed()
        await self.service.stop()
        (pid,) = self.pids()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        await self.service.start()
        self.assertFalse(await self.resumed())
        self.assertTrue(await self.resumed())
        (warning,) = self.postfix.log("warning")
        self.assertIn("warning: private/tlsmgr: no reply within 2 seconds", warning)

    async def test_not_there(self) -> None:
        """Where there is none, sessions are kept in the process, and nothing is told."""
        await self.begin_with_server(tlsmgr_service_name="nosuch")
        await self.check_memory_alone()

    async def test_has_no_cache(self) -> None:
        """Where it keeps no sessions, the same."""
        await self.begin_with_server(
            smtp_tls_session_cache_database="", options=["-osmtp_tls_session_cache_database=btree:ours"]
        )
        await self.check_memory_alone()

    async def check_memory_alone(self) -> None:
        """Only one process takes its sessions up, and nobody complains."""
        self.assertEqual([await self.resumed(), await self.resumed()], [False, True])
        await self.again()
        self.assertFalse(await self.resumed())
        self.assertEqual(self.postfix.log("warning"), [])

    async def test_smtp(self) -> None:
        """smtp(8) and our service have one tlsmgr(8), and neither takes the other's sessions."""
        await self.begin_with_server()
        self.assertFalse(await self.resumed("one@theirs.example"))
        self.assertFalse(await self.resumed("one@dest.example"))
        self.assertTrue(await self.resumed("two@theirs.example"))
        await self.again()
        self.assertTrue(await self.resumed("two@dest.example"))
        self.assertEqual(self.postfix.log("warning"), [])


class TableTests(SessionCase):
    """The tables that tlsmgr(8) can have."""

    def client(self) -> TlsManager:
        """A client of our own."""
        loaded, errors = salvage_settings(self.postfix.etc, protocol="smtp", service_name="agent")
        self.assertEqual(errors, ())
        services = PrivateServices(loaded, postfix_version(loaded), reactor, self.told.append)
        client = services.tls_sessions()
        assert client is not None
        self.addCleanup(client.close)
        return client

    async def check(self, kind: str) -> None:
        """The largest session, and the longest name, fit."""
        self.told: list[Event] = []
        domain, host = (".".join([letter * 60] * 3) + ".example" for letter in "dm")
        self.zone = {domain: {"MX": [f"10 {host}"]}, host: {"A": [SERVER]}}
        await self.begin_with_server(
            smtp_tls_session_cache_database=f"{kind}:${{data_directory}}/smtp_scache", smtp_tls_security_level="encrypt"
        )
        recipient = f"one@{domain}"
        self.assertFalse(await self.resumed(recipient))
        await self.again()
        self.assertTrue(await self.resumed(recipient))
        client = self.client()
        session = os.urandom(LONGEST_SESSION + 100)
        client.update("k" * LONGEST_ID, session)
        self.assertEqual(await client.lookup("k" * LONGEST_ID), session)
        client.delete("k" * LONGEST_ID)
        self.assertIsNone(await self.client().lookup("k" * LONGEST_ID))
        self.assertEqual((self.told, self.postfix.log("warning")), ([], []))

    async def test_btree(self) -> None:
        """Berkeley DB, sorted."""
        await self.check("btree")

    async def test_hash(self) -> None:
        """Berkeley DB, hashed."""
        await self.check("hash")

    async def test_lmdb(self) -> None:
        """LMDB, in which names have a limit."""
        await self.check("lmdb")


class LmtpTests(SessionCase):
    """LMTP, whose sessions have a cache of their own."""

    protocol = "lmtp"

    async def test_restart(self) -> None:
        """The session of a process is taken up by the next one."""
        needs_own_service()
        self.mx = await self.server(
            SERVER, hostname=HOST, keywords=("PIPELINING", "STARTTLS"), tls=server_context(shared_pki()["valid"])
        )
        await self.begin(
            {
                "lmtp_tls_security_level": "encrypt",
                "lmtp_tls_loglevel": "cache",
                "lmtp_tls_session_cache_database": "btree:${data_directory}/lmtp_scache",
            },
            routes={"dest.example": f"inet:{SERVER}:25"},
        )
        self.assertFalse(await self.resumed())
        await self.again()
        self.assertTrue(await self.resumed())
        self.assertEqual(len(self.tlsmgr("open lmtp TLS cache")), 1)
        self.assertEqual(self.postfix.log("warning"), [])


class SupervisorTests(SessionCase):
    """Started by root: a supervisor with workers."""

    service_class = RootServiceAgent

    def worker(self) -> str:
        """Which process has told of TLS last."""
        *_, line = self.postfix.log("TLS connection established")
        return line.partition("[")[2].partition("]")[0]

    async def test_next_generation(self) -> None:
        """The next generation's worker finds the sessions of the one before."""
        await self.begin_with_server()
        self.assertFalse(await self.resumed())
        first = last = self.worker()
        self.service.reload()
        for _ in range(20):
            await self.postfix.pause(0.2)
            self.assertTrue(await self.resumed())
            if (last := self.worker()) != first:
                break
        self.assertNotEqual(first, last)
        self.assertEqual(self.postfix.log("warning"), [])
