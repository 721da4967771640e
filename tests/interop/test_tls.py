"""TLS with servers that other people wrote: Postfix, Dovecot, OpenSSL; and with Unbound for the names."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.interop.case import InteropCase, message, needs_own_service
from tests.interop.test_dovecot import DovecotCase
from tests.interop.test_unbound import UNBOUND, Unbound
from tests.kit.pki import HOST, Identity, shared_pki
from tests.kit.postfix import MASTER_CF, Postfix
from tests.kit.script import Script
from tests.kit.server_tls import server_context
from tests.kit.smtp_server import ScriptedSession, SessionRecord

SERVER = "192.0.2.1"
SENDER = "sender@sender.example"
OPENSSL = shutil.which("openssl")

ZONE = {
    "dest.example": {"MX": [f"10 {HOST}"]},
    HOST: {"A": [SERVER]},
}

BODY = "".join(f"line {number} of a message that takes several records\n.dot\n" for number in range(2000))


class TlsCase(InteropCase):
    """A test with certificates."""

    def certificates(self, name: str = "valid") -> Any:
        """Files with a certificate and its key, for everybody to read."""
        return self.write(shared_pki()[name], name)

    def write(self, identity: Identity, name: str) -> Any:
        """The same of any identity."""
        folder = self.directory / "certificates"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        files = identity.write(folder, name)
        for path in folder.iterdir():
            path.chmod(0o644)
        return files

    def authorities(self) -> str:
        """A file with the root."""
        return str(self.write(shared_pki().root, "root").certificate)

    async def change(self, settings: Mapping[str, str]) -> None:
        """Change main.cf, and wait until it counts: our service looks once a second."""
        self.postfix.configure(settings)
        await self.postfix.reload()
        await self.postfix.pause(1.1)

    async def send(self, body: str = "text\n") -> str:
        """Send a message; the line that tells what became of it."""

        def told() -> list[str]:
            return self.postfix.log("to=<one@dest.example>", "status=")

        before = len(told())
        await self.postfix.submit(SENDER, ["one@dest.example"], message(body=body))
        await self.postfix.settle()
        # postlogd(8) may be behind the queue manager.
        await self.postfix.wait_for(lambda: len(told()) > before, "nothing is told of the message")
        return told()[-1]


class PostfixServerTests(TlsCase):
    """A second Postfix is the mail exchanger."""

    async def begin_with_server(
        self, settings: Mapping[str, str], identity: str = "valid", *, port: str = "25", **server_settings: str
    ) -> Postfix:
        """Start both; returns the server."""
        self.name_server(ZONE)
        files = self.certificates(identity)
        await self.begin({"smtp_tls_loglevel": "1", "smtp_dns_support_level": "enabled", **settings}, routes={})
        server = Postfix(self.directory / "mx", reactor)
        server.directory.mkdir()
        server.create(
            {
                "myhostname": HOST,
                "virtual_mailbox_domains": "dest.example, sender.example",
                "smtpd_relay_restrictions": "reject_unauth_destination",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": str(files.both),
                "smtpd_tls_received_header": "yes",
                "smtpd_tls_loglevel": "1",
                **server_settings,
            }
        )
        server.write("master.cf", MASTER_CF.replace("127.0.0.1:10025", f"{SERVER}:{port}"))
        self.addCleanup(server.stop)
        await server.start()
        return server

    def received(self, server: Postfix) -> str:
        """The message that the server got last."""
        path = max((server.directory / "sink" / "reports" / "new").iterdir(), key=lambda each: each.stat().st_mtime)
        return path.read_text()

    async def test_levels(self) -> None:
        """At each level that this server satisfies, a large message arrives as it was, inside TLS."""
        ours = self.authorities()
        digest = shared_pki()["valid"].fingerprint()
        first = True
        for settings, word in (
            ({"smtp_tls_security_level": "may"}, "Untrusted"),
            ({"smtp_tls_security_level": "encrypt", "smtp_tls_CAfile": ours}, "Trusted"),
            ({"smtp_tls_security_level": "verify", "smtp_tls_CAfile": ours}, "Verified"),
            ({"smtp_tls_security_level": "fingerprint", "smtp_tls_fingerprint_cert_match": digest}, "Verified"),
            (
                {
                    "smtp_tls_policy_maps": "inline:{ {dest.example = secure match=hostname} }",
                    "smtp_tls_trust_anchor_file": ours,
                },
                "Verified",
            ),
        ):
            if first:
                server = await self.begin_with_server(settings)
                first = False
            else:
                await self.change({"smtp_tls_CAfile": "", **settings})
            self.assertIn("status=sent", await self.send(BODY))
            await server.settle()
            self.assertTrue(
                self.postfix.log(f"{word} TLS connection established to {HOST}[{SERVER}]:25: TLSv1.3"), word
            )
            received = self.received(server)
            self.assertIn("using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384", received)
            self.assertEqual(received.partition("\n\n")[2], BODY)

    async def test_wrong_name(self) -> None:
        """A certificate of another name: no mail, and no error in the server's log but a QUIT."""
        server = await self.begin_with_server(
            {"smtp_tls_security_level": "verify", "smtp_tls_CAfile": self.authorities()}, "wrong_name"
        )
        self.assertIn("dsn=4.7.5, status=deferred (Server certificate not verified)", await self.send())
        self.assertEqual(server.log("smtpd", "lost connection"), [])

    async def test_client_certificate(self) -> None:
        """The server sees our certificate, and trusts it."""
        client = self.certificates("client")
        server = await self.begin_with_server(
            {"smtp_tls_security_level": "encrypt", "smtp_tls_chain_files": str(client.both)},
            smtpd_tls_ask_ccert="yes",
            smtpd_tls_CAfile=self.authorities(),
        )
        self.assertIn("status=sent", await self.send())
        await server.settle()
        self.assertTrue(server.log("Trusted TLS connection established from", "TLSv1.3"))

    async def test_wrapper(self) -> None:
        """TLS before the greeting, on port 465."""
        server = await self.begin_with_server(
            {
                "smtp_tls_security_level": "encrypt",
                "smtp_tls_wrappermode": "yes",
                "smtp_tcp_port": "465",
            },
            port="465",
            smtpd_tls_wrappermode="yes",
        )
        self.assertIn("status=sent", await self.send(BODY))
        await server.settle()
        self.assertEqual(self.received(server).partition("\n\n")[2], BODY)

    async def test_old_protocols(self) -> None:
        """A server that knows TLS 1.2 with RSA only, and one that wants a protocol that we were told not to use."""
        await self.begin_with_server(
            {"smtp_tls_policy_maps": "inline:{ {dest.example = encrypt protocols=TLSv1.2 exclude=aNULL} }"}, "rsa"
        )
        self.assertIn("status=sent", await self.send())
        self.assertTrue(
            self.postfix.log("TLS connection established to", "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384")
        )
        await self.change({"smtp_tls_policy_maps": "inline:{ {dest.example = encrypt protocols=>=TLSv1.3:<=TLSv1.2} }"})
        self.assertIn("Cannot start TLS: handshake failure", await self.send())

    async def test_session_is_resumed(self) -> None:
        """The second connection takes up the TLS session of the first, as the server confirms."""
        needs_own_service()
        server = await self.begin_with_server(
            {
                "smtp_tls_security_level": "encrypt",
                "smtp_tls_loglevel": "2",
                "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
                "smtp_connection_cache_on_demand": "no",
            },
            smtpd_tls_loglevel="2",
        )
        for _ in range(2):
            self.assertIn("status=sent", await self.send())
        await server.settle()
        self.assertEqual(len(self.postfix.log("Reusing old session")), 1)
        self.assertEqual(len(server.log("Reusing old session")), 1)


class DovecotTests(DovecotCase, TlsCase):
    """Dovecot's LMTP server with STARTTLS."""

    async def test_starttls(self) -> None:
        """LMTP inside TLS, verified."""
        files = self.certificates("valid")
        folder = await self.dovecot(
            f"ssl = yes\nssl_cert = <{files.chain}\nssl_key = <{files.key}\nssl_min_protocol = TLSv1.2\n"
        )
        await self.begin(
            {
                "lmtp_tls_policy_maps": f"inline:{{ {{[{SERVER}] = secure match={HOST}}} }}",
                "lmtp_tls_CAfile": self.authorities(),
                "lmtp_tls_loglevel": "1",
            },
            routes={"dest.example": f"inet:[{SERVER}]"},
        )
        await self.postfix.wait_for((folder / "lmtp").exists, "Dovecot does not start")
        await self.postfix.submit(SENDER, ["alice@dest.example"], message(body=BODY))
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])
        self.assertTrue(self.postfix.log(f"Verified TLS connection established to {SERVER}[{SERVER}]:24: TLSv1.3"))
        (stored,) = (folder / "mail" / "alice@dest.example" / "new").iterdir()
        self.assertEqual(stored.read_bytes().partition(b"\n\n")[2].decode(), BODY)


class _Pipe:
    """The standard input of a process, as the transport of a scripted session."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        """Let the process send it."""
        self._process.write(data)

    def loseConnection(self) -> None:
        """OpenSSL ends when its client does."""

    abortConnection = loseConnection


class OpenSslServer(ProcessProtocol):
    """``openssl s_server``, which passes on what a client says, and sends what a script answers."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.record = SessionRecord(1)
        self.messages: list[Any] = []
        self.session: ScriptedSession | None = None
        self.complaints = b""
        self.ended = False

    def connectionMade(self) -> None:
        """Greet: that waits in the pipe until the client's handshake is done."""
        clock: Any = reactor
        self.session = ScriptedSession(self.script, self.record, clock, self.messages.append, lambda: None)
        pipe: Any = _Pipe(self.transport)
        self.session.makeConnection(pipe)

    def outReceived(self, data: bytes) -> None:
        """The client says something."""
        assert self.session is not None
        self.session.dataReceived(data)

    def errReceived(self, data: bytes) -> None:
        """It complains."""
        self.complaints += data

    def processEnded(self, reason: Failure) -> None:
        """It has ended."""
        self.ended = True


def _listens_for_tls() -> bool:
    """Whether somebody listens on port 465; asked without a connection, of which OpenSSL takes only one."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{465:04X}") and row[3] == "0A" for row in rows)


class OpenSslTests(TlsCase):
    """OpenSSL's own server, which can do what no mail server does any more."""

    if not InteropCase.skip and OPENSSL is None:
        skip = "needs openssl (Debian package openssl)"

    async def serve(self, identity: str, *options: str) -> OpenSslServer:
        """Start a server in wrapper mode."""
        files = self.certificates(identity)
        server = OpenSslServer(Script(keywords=("PIPELINING",)))
        assert OPENSSL is not None
        command = [OPENSSL, "s_server", "-accept", f"{SERVER}:465", "-naccept", "1", "-quiet", "-no_ticket"]
        command += ["-cert", str(files.certificate), "-key", str(files.key), "-cert_chain", str(files.chain)]
        environment = {"PATH": os.defpath, "OPENSSL_CONF": "/dev/null"}
        process: Any = reactor.spawnProcess(server, OPENSSL, [*command, *options], env=environment)

        async def stop() -> None:
            with contextlib.suppress(ProcessExitedAlready):
                process.signalProcess("KILL")
            await self.postfix.wait_for(lambda: server.ended, "OpenSSL does not end")

        self.addCleanup(stop)
        await self.postfix.wait_for(_listens_for_tls, f"OpenSSL does not listen: {server.complaints!r}")
        return server

    async def deliver(self, identity: str, options: tuple[str, ...], settings: Mapping[str, str]) -> str:
        """Deliver a message through a server; the line that tells what became of it."""
        await self.serve(identity, *options)
        self.name_server(ZONE)
        await self.begin(
            {
                "smtp_tls_security_level": "encrypt",
                "smtp_tls_wrappermode": "yes",
                "smtp_tcp_port": "465",
                "smtp_tls_loglevel": "1",
                **settings,
            },
            routes={},
        )
        return await self.send()

    async def test_tls12_rsa(self) -> None:
        """TLS 1.2 with an RSA key."""
        self.assertIn("status=sent", await self.deliver("rsa", ("-tls1_2",), {}))
        self.assertTrue(self.postfix.log("TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"))

    async def test_ed25519(self) -> None:
        """TLS 1.3 with an Ed25519 key."""
        self.assertIn("status=sent", await self.deliver("ed25519", ("-tls1_3",), {}))
        self.assertTrue(self.postfix.log("TLSv1.3 with cipher", "server-signature ED25519"))

    async def test_tls10(self) -> None:
        """TLS 1.0 works below the levels that must match, if nobody forbids it."""
        options = ("-tls1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn("status=sent", await self.deliver("rsa", options, {}))
        self.assertTrue(self.postfix.log("TLSv1 with cipher"))

    async def test_tls10_is_too_old(self) -> None:
        """At a level that must match TLS 1.0 is too weak, whatever is configured."""
        options = ("-tls1", "-cipher", "ALL:@SECLEVEL=0")
        settings = {"smtp_tls_security_level": "verify", "smtp_tls_CAfile": self.authorities()}
        self.assertIn("Cannot start TLS: handshake failure", await self.deliver("rsa", options, settings))

    async def test_wanted_group(self) -> None:
        """The groups that are configured are offered, and no others."""
        settings = {"tls_eecdh_auto_curves": "secp384r1", "tls_ffdhe_auto_groups": ""}
        self.assertIn("status=sent", await self.deliver("valid", (), settings))
        self.assertTrue(self.postfix.log("key-exchange ECDHE (secp384r1)"))

    async def test_no_group_in_common(self) -> None:
        """Without a group in common there is no handshake."""
        settings = {"tls_eecdh_auto_curves": "secp384r1", "tls_ffdhe_auto_groups": ""}
        self.assertIn("handshake failure", await self.deliver("valid", ("-groups", "X25519"), settings))
        self.assertTrue(self.postfix.log("TLS library problem"))


class DaneTests(TlsCase):
    """TLSA records in a signed zone, by way of Unbound."""

    if not InteropCase.skip and not UNBOUND:
        skip = "needs Unbound (Debian package unbound)"

    async def begin_with(self, tlsa: str, level: str = "dane", identity: str = "valid") -> str:
        """Deliver to a server whose name has this TLSA record; the line that tells what became of it."""
        records = f"{HOST}. A {SERVER}\nsigned.example. MX 10 {HOST}.\n" + (
            f"_25._tcp.{HOST}. TLSA {tlsa}\n" if tlsa else ""
        )
        unbound = Unbound(self.directory / "unbound", records)
        self.addCleanup(unbound.stop)
        await unbound.start()
        self.mail = await self.server(
            SERVER, hostname=HOST, keywords=("STARTTLS", "PIPELINING"), tls=server_context(shared_pki()[identity])
        )
        await self.begin(
            {
                "smtp_dns_support_level": "dnssec",
                "smtp_address_preference": "ipv4",
                "smtp_tls_security_level": level,
                "smtp_tls_loglevel": "1",
            },
            routes={},
        )
        await self.postfix.submit(SENDER, ["one@signed.example"], message())
        await self.postfix.settle()
        return str(self.postfix.log("to=<one@signed.example>", "status=")[-1])

    async def test_end_entity(self) -> None:
        """A record of the server's key: verified, whatever its dates."""
        digest = hashlib.sha256(shared_pki()["expired"].public_key_der).hexdigest()
        self.assertIn("status=sent", await self.begin_with(f"3 1 1 {digest}", identity="expired"))
        self.assertTrue(self.postfix.log(f"Verified TLS connection established to {HOST}[{SERVER}]:25"))
        self.assertEqual(self.mail.sessions[0].handshake and self.mail.sessions[0].handshake.servername, HOST)

    async def test_trust_anchor(self) -> None:
        """A record of the authority: verified by the chain and the name."""
        digest = hashlib.sha256(shared_pki().intermediate.der).hexdigest()
        self.assertIn("status=sent", await self.begin_with(f"2 0 1 {digest}", "dane-only"))
        self.assertTrue(self.postfix.log("Verified TLS connection established to"))

    async def test_mismatch(self) -> None:
        """A record of another key: the mail waits."""
        self.assertIn("Server certificate not verified", await self.begin_with(f"3 1 1 {'ab' * 32}"))
        self.assertEqual(self.mail.messages, [])

    async def test_none(self) -> None:
        """No record: TLS as at level may; at dane-only the mail waits."""
        self.assertIn("status=sent", await self.begin_with(""))
        self.assertTrue(self.postfix.log("Untrusted TLS connection established to"))

    async def test_only(self) -> None:
        """At level dane-only, without a record the mail waits."""
        self.assertIn("4.7.5, status=deferred (no TLSA records found)", await self.begin_with("", "dane-only"))
        self.assertEqual(self.mail.sessions, [])
