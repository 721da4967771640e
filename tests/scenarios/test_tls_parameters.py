"""What each parameter of TLS does: a delivery that comes out otherwise without it.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
tests/tls/test_rows.py compares the names with the rows of the registry. All run once more with LMTP.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.task import deferLater

from tests.kit.pki import HOST, Identity, shared_pki
from tests.kit.script import Deaf, Raw, Script
from tests.kit.server_tls import ServerHandshake, server_context
from tests.kit.short_path import socket_path
from tests.kit.tlsmgr import POSTFIX_3_7, Tlsmgr
from tests.scenarios.parameters import named
from tests.scenarios.world import SETTINGS, WorldTestCase, reactor
from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.connecting import ClientTransport
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.model.result import Fate
from twisted_mta.postfix.services import PrivateServices

KEYWORDS = ("PIPELINING", "STARTTLS", "DSN")
TLS12, TLS13 = 0x0303, 0x0304
NOT_VERIFIED = "4.7.5 Server certificate not verified"
NO_HANDSHAKE = "4.7.5 Cannot start TLS: handshake failure"
NO_ENGINE = "4.7.5 TLS is required, but our TLS engine is unavailable"


class EffectTests(WorldTestCase):
    """One test a parameter.

    Attributes:
        protocol: smtp or lmtp; parameters have their SMTP names here, and the names of the protocol in main.cf.
        domain: what mail is for.
        nexthop: the destination as the protocol has it.
    """

    protocol = "smtp"
    domain = "dest.example"
    nexthop = "dest.example"

    def setUp(self) -> None:
        """Make a place for files."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.records: dict[str, Any] = {}

    async def start(self, identity: Identity | str = "valid", *rules: Any, wrapper: bool = False, **tls: Any) -> None:
        """Start the server at mx1, whose context `tls` shapes, and a name server."""
        if isinstance(identity, str):
            identity = shared_pki()[identity]
        context = server_context(identity, **tls)
        await self.serve(*rules, tls=context, wrapper=wrapper)
        zone = {"dest.example": {"MX": [f"10 {HOST}"]}, HOST: {"A": ["127.0.0.1"]}, **self.records}
        self.names = await self.name_server(zone)

    async def serve(self, *rules: Any, **options: Any) -> None:
        """Start a server of the protocol."""
        script = Script(*rules, hostname=HOST, keywords=KEYWORDS, lmtp=self.protocol == "lmtp", **options)
        self.server, self.port = await self.mail_server(script)

    def settings(self, level: str, settings: Mapping[str, str]) -> dict[str, str]:
        """The parameters of a delivery at a level; empty: the level is not set."""
        by_level = {"smtp_tls_security_level": level} if level else {}
        all_of_them = {"smtp_tcp_port": str(self.port), "smtp_tls_loglevel": "1", **by_level, **settings}
        return named(all_of_them, self.protocol)

    def engine(self, level: str, settings: Mapping[str, str]) -> DeliveryAgent:
        """An engine for deliveries at a level."""
        return self.agent(self.settings(level, settings), servers=[self.names], protocol=self.protocol)

    async def deliver_by(self, agent: DeliveryAgent) -> None:
        """Deliver a message with an engine."""
        await self.deliver(self.nexthop, ["a@dest.example"], agent=agent)

    async def send(self, level: str, **settings: str) -> str:
        """Deliver a message; ``sent``, or status and reason."""
        await self.deliver_by(self.engine(level, settings))
        result = self.reports.results[-1]
        return "sent" if result.fate is Fate.SENT else f"{result.dsn.status} {result.dsn.reason}"

    def file(self, identity: str = "", *, root: bool = False, what: str = "both") -> str:
        """A file with a certificate of the PKI, or the root."""
        made = shared_pki().root if root else shared_pki()[identity]
        return str(getattr(made.write(self.folder, identity or "root"), "certificate" if root else what))

    @property
    def handshake(self) -> ServerHandshake:
        """The server's end of the last handshake."""
        handshake = self.server.sessions[-1].handshake
        assert handshake is not None
        return handshake

    def logged(self, text: str) -> bool:
        """Whether a line of the log has a text."""
        return any(text in line for line in self.log)

    # ---- levels ----

    async def test_smtp_tls_security_level(self) -> None:
        """encrypt: TLS is used."""
        await self.start()
        self.assertEqual(await self.send("encrypt"), "sent")
        self.assertEqual(self.handshake.protocol, "TLSv1.3")

    async def test_smtp_use_tls(self) -> None:
        """The old way to say may."""
        await self.start()
        self.assertEqual(await self.send("", smtp_use_tls="yes"), "sent")
        self.assertEqual(self.handshake.protocol, "TLSv1.3")

    async def test_smtp_enforce_tls(self) -> None:
        """The old way to say verify."""
        await self.start("wrong_name")
        self.assertEqual(await self.send("", smtp_enforce_tls="yes"), NOT_VERIFIED)

    async def test_smtp_tls_enforce_peername(self) -> None:
        """With no it is encrypt."""
        await self.start("wrong_name")
        self.assertEqual(await self.send("", smtp_enforce_tls="yes", smtp_tls_enforce_peername="no"), "sent")
        self.assertEqual(self.handshake.protocol, "TLSv1.3")

    async def test_smtp_tls_policy_maps(self) -> None:
        """A table gives a destination a level of its own."""
        await self.start("self_signed")
        table = f"inline:{{ {{{self.domain}=verify}} }}"
        self.assertEqual(await self.send("may", smtp_tls_policy_maps=table), NOT_VERIFIED)

    async def test_smtp_tls_per_site(self) -> None:
        """So does the obsolete table."""
        await self.start("self_signed")
        table = f"inline:{{ {{{self.domain}=MUST}} }}"
        self.assertEqual(await self.send("may", smtp_tls_per_site=table), NOT_VERIFIED)

    async def test_smtp_tls_wrappermode(self) -> None:
        """TLS begins before the greeting."""
        await self.start(wrapper=True)
        self.assertEqual(await self.send("encrypt", smtp_tls_wrappermode="yes"), "sent")

    async def test_smtp_tls_note_starttls_offer(self) -> None:
        """An offer that is not taken is noted."""
        await self.start()
        self.assertEqual(await self.send("none", smtp_tls_note_starttls_offer="yes"), "sent")
        self.assertTrue(self.logged(f"Host offered STARTTLS: [{HOST}]"))

    async def test_smtp_tls_block_early_mail_reply(self) -> None:
        """A reply to MAIL before MAIL ends the session."""
        early = Raw(f"250-{HOST}\r\n250 DSN\r\n250 2.1.0 early\r\n".encode())
        await self.start("valid", ("LHLO" if self.protocol == "lmtp" else "EHLO", None, early))
        self.assertEqual(
            await self.send("encrypt", smtp_tls_block_early_mail_reply="yes"), "4.7.0 unexpected server message"
        )

    async def test_smtp_tls_servername(self) -> None:
        """The server is asked for by name."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_servername="nexthop"), "sent")
        self.assertEqual(self.handshake.servername, self.domain)

    async def test_smtp_tls_loglevel(self) -> None:
        """What was agreed upon is told."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_loglevel="1"), "sent")
        self.assertTrue(self.logged("TLS connection established to"))

    async def test_smtp_tls_connection_reuse(self) -> None:
        """The connection is kept for the next message."""
        await self.start()
        kept = {"smtp_tls_connection_reuse": "yes", "smtp_connection_cache_destinations": "static:all"}
        agent = self.engine("encrypt", kept)
        for _ in range(2):
            await self.deliver_by(agent)
        assert agent.parts.reuse is not None
        agent.parts.reuse.cache.close()
        await self.server.until(lambda: not any(session.open for session in self.server.sessions))
        self.assertEqual([len(session.messages) for session in self.server.sessions], [2])

    # ---- trust ----

    async def test_smtp_tls_CAfile(self) -> None:
        """An authority in a file."""
        await self.start()
        self.assertEqual(await self.send("verify", smtp_tls_CAfile=self.file(root=True)), "sent")

    async def test_smtp_tls_CApath(self) -> None:
        """An authority in a directory, found by the hash of its name."""
        await self.start()
        root = shared_pki().root
        name = f"{_subject_hash(root):08x}.0"
        (self.folder / name).write_bytes(root.certificate_pem)
        self.assertEqual(await self.send("verify", smtp_tls_CApath=str(self.folder)), "sent")

    async def test_tls_append_default_CA(self) -> None:
        """The system's authorities count besides; here a file that the environment names stands for them."""
        await self.start()
        other = self.folder / "other.pem"
        other.write_bytes(shared_pki().other_root.certificate_pem)
        os.environ["SSL_CERT_FILE"] = self.file(root=True)
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        self.assertEqual(await self.send("verify", smtp_tls_CAfile=str(other), tls_append_default_CA="yes"), "sent")

    async def test_smtp_tls_scert_verifydepth(self) -> None:
        """A chain may not be longer than that, and one."""
        pki = shared_pki()
        above = pki.issue("Second Intermediate", issuer=pki.intermediate, authority=True, names=())
        await self.start(pki.issue(issuer=above))
        root = self.file(root=True)
        self.assertEqual(await self.send("verify", smtp_tls_CAfile=root, smtp_tls_scert_verifydepth="0"), NOT_VERIFIED)
        self.assertTrue(self.logged("certificate chain longer than limit"))

    async def test_smtp_tls_trust_anchor_file(self) -> None:
        """Anchors of a file take the place of the authorities."""
        await self.start()
        self.assertEqual(await self.send("verify", smtp_tls_trust_anchor_file=self.file(root=True)), "sent")

    async def test_smtp_tls_verify_cert_match(self) -> None:
        """The names at level verify."""
        await self.start("wrong_name")
        root = self.file(root=True)
        sent = await self.send("verify", smtp_tls_CAfile=root, smtp_tls_verify_cert_match="other.example")
        self.assertEqual(sent, "sent")

    async def test_smtp_tls_secure_cert_match(self) -> None:
        """The names at level secure."""
        await self.start("wrong_name")
        root = self.file(root=True)
        sent = await self.send("secure", smtp_tls_CAfile=root, smtp_tls_secure_cert_match="other.example")
        self.assertEqual(sent, "sent")

    async def test_smtp_tls_fingerprint_cert_match(self) -> None:
        """The fingerprints at level fingerprint."""
        await self.start("self_signed")
        digest = shared_pki()["self_signed"].fingerprint()
        self.assertEqual(await self.send("fingerprint", smtp_tls_fingerprint_cert_match=digest), "sent")

    async def test_smtp_tls_fingerprint_digest(self) -> None:
        """The digest of fingerprints."""
        await self.start("self_signed")
        digest = hashlib.sha1(shared_pki()["self_signed"].der, usedforsecurity=False).hexdigest()
        settings = {"smtp_tls_fingerprint_cert_match": digest, "smtp_tls_fingerprint_digest": "sha1"}
        self.assertEqual(await self.send("fingerprint", **settings), "sent")

    # ---- our own certificates ----

    async def test_smtp_tls_chain_files(self) -> None:
        """Key and certificate in one file."""
        await self.start(asks_for_certificate=True)
        self.assertEqual(await self.send("encrypt", smtp_tls_chain_files=self.file("client")), "sent")
        self.assertEqual(self.handshake.client, "client.example")

    async def test_smtp_tls_cert_file(self) -> None:
        """The RSA certificate."""
        await self.start(asks_for_certificate=True)
        self.assertEqual(await self.send("encrypt", smtp_tls_cert_file=self.file("client_rsa")), "sent")
        self.assertEqual(self.handshake.client, "client.example")

    async def test_smtp_tls_key_file(self) -> None:
        """Its key in a file of its own."""
        await self.start(asks_for_certificate=True)
        files = {
            "smtp_tls_cert_file": self.file("client_rsa", what="chain"),
            "smtp_tls_key_file": self.file("client_rsa", what="key"),
        }
        self.assertEqual(await self.send("encrypt", **files), "sent")
        self.assertEqual(self.handshake.client, "client.example")

    async def test_smtp_tls_eccert_file(self) -> None:
        """The ECDSA certificate."""
        await self.start(asks_for_certificate=True)
        self.assertEqual(await self.send("encrypt", smtp_tls_eccert_file=self.file("client")), "sent")
        self.assertEqual(self.handshake.client, "client.example")

    async def test_smtp_tls_eckey_file(self) -> None:
        """Its key in a file of its own."""
        await self.start(asks_for_certificate=True)
        files = {
            "smtp_tls_eccert_file": self.file("client", what="chain"),
            "smtp_tls_eckey_file": self.file("client", what="key"),
        }
        self.assertEqual(await self.send("encrypt", **files), "sent")
        self.assertEqual(self.handshake.client, "client.example")

    async def test_smtp_tls_dcert_file(self) -> None:
        """The DSA certificate, which hardly any server would take: without its file there is no TLS."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_dcert_file="/nowhere/dsa.pem"), NO_ENGINE)

    async def test_smtp_tls_dkey_file(self) -> None:
        """Its key in a file of its own: that of another certificate does not fit."""
        await self.start()
        files = {
            "smtp_tls_dcert_file": self.file("client_dsa"),
            "smtp_tls_dkey_file": self.file("client_rsa", what="key"),
        }
        self.assertEqual(await self.send("encrypt", **files), NO_ENGINE)

    # ---- protocols, ciphers, groups ----

    async def test_smtp_tls_protocols(self) -> None:
        """The protocols at level may."""
        await self.start()
        self.assertEqual(await self.send("may", smtp_tls_protocols="TLSv1.2"), "sent")
        self.assertEqual(self.handshake.protocol, "TLSv1.2")

    async def test_smtp_tls_mandatory_protocols(self) -> None:
        """The protocols above that."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_mandatory_protocols="<=TLSv1.2"), "sent")
        self.assertEqual(self.handshake.protocol, "TLSv1.2")

    async def test_smtp_tls_ciphers(self) -> None:
        """The grade of ciphers at level may; null are those that hide nothing."""
        await self.start("rsa", version=TLS12, ciphers=b"NULL-SHA256:@SECLEVEL=0")
        self.assertEqual(await self.send("may", smtp_tls_ciphers="null"), "sent")
        self.assertEqual(self.handshake.cipher, "NULL-SHA256")

    async def test_smtp_tls_mandatory_ciphers(self) -> None:
        """The grade above that; an unknown one stops the handshake."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_mandatory_ciphers="excellent"), NO_HANDSHAKE)
        self.assertTrue(self.logged('invalid cipher grade: "excellent"'))

    async def test_smtp_tls_exclude_ciphers(self) -> None:
        """Ciphers that are not offered."""
        await self.start(version=TLS12)
        self.assertEqual(await self.send("may", smtp_tls_exclude_ciphers="AES256, aNULL"), "sent")
        self.assertNotIn("AES256", self.handshake.cipher)

    async def test_smtp_tls_mandatory_exclude_ciphers(self) -> None:
        """More of them above level may."""
        await self.start(version=TLS12)
        self.assertEqual(await self.send("encrypt", smtp_tls_mandatory_exclude_ciphers="AES256, aNULL"), "sent")
        self.assertNotIn("AES256", self.handshake.cipher)

    async def test_tls_high_cipherlist(self) -> None:
        """What grade high is."""
        await self.start(version=TLS12)
        lists = {"smtp_tls_ciphers": "high", "tls_high_cipherlist": "ECDHE-ECDSA-AES128-SHA256"}
        self.assertEqual(await self.send("may", **lists), "sent")
        self.assertEqual(self.handshake.cipher, "ECDHE-ECDSA-AES128-SHA256")

    async def test_tls_medium_cipherlist(self) -> None:
        """What grade medium is."""
        await self.start(version=TLS12)
        self.assertEqual(await self.send("may", tls_medium_cipherlist="ECDHE-ECDSA-AES128-SHA256"), "sent")
        self.assertEqual(self.handshake.cipher, "ECDHE-ECDSA-AES128-SHA256")

    async def test_tls_null_cipherlist(self) -> None:
        """What grade null is."""
        await self.start(version=TLS12)
        lists = {"smtp_tls_ciphers": "null", "tls_null_cipherlist": "ECDHE-ECDSA-AES128-SHA256"}
        self.assertEqual(await self.send("may", **lists), "sent")
        self.assertEqual(self.handshake.cipher, "ECDHE-ECDSA-AES128-SHA256")

    async def test_tls_eecdh_auto_curves(self) -> None:
        """The curves that are offered."""
        await self.start()
        self.assertEqual(await self.send("encrypt", tls_eecdh_auto_curves="secp384r1"), "sent")
        self.assertEqual(self.handshake.group, "secp384r1")

    async def test_tls_ffdhe_auto_groups(self) -> None:
        """The finite-field groups that are offered."""
        await self.start()
        groups = {"tls_eecdh_auto_curves": "", "tls_ffdhe_auto_groups": "ffdhe3072"}
        self.assertEqual(await self.send("encrypt", **groups), "sent")
        self.assertEqual(self.handshake.group, "ffdhe3072")

    async def test_tls_disable_workarounds(self) -> None:
        """A word that is unknown is told."""
        await self.start()
        self.assertEqual(await self.send("encrypt", tls_disable_workarounds="NO_SUCH_BUG"), "sent")
        self.assertTrue(self.logged('unknown tls_disable_workarounds value "NO_SUCH_BUG"'))

    async def test_tls_ssl_options(self) -> None:
        """NO_TICKET: a session of TLS 1.2 is one of the server's memory, which this server has not."""
        await self.start(version=TLS12)
        assert self.server.script.tls is not None
        self.server.script.tls.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        settings = {"smtp_tls_session_cache_database": "btree:sessions", "tls_ssl_options": "NO_TICKET"}
        await self.twice(settings)
        self.assertEqual(self.resumed, [False, False])

    async def twice(self, settings: Mapping[str, str]) -> None:
        """Deliver two messages, over a connection each."""
        agent = self.engine("encrypt", settings)
        for _ in range(2):
            await self.deliver_by(agent)

    @property
    def resumed(self) -> list[bool]:
        """Of each handshake, whether it took up a session."""
        return [session.handshake is not None and session.handshake.reused for session in self.server.sessions]

    # ---- sessions, and the end ----

    async def test_smtp_tls_session_cache_database(self) -> None:
        """The second connection takes up the session of the first."""
        await self.start()
        await self.twice({"smtp_tls_session_cache_database": "btree:sessions"})
        self.assertEqual(self.resumed, [False, True])

    async def test_smtp_tls_session_cache_timeout(self) -> None:
        """A time of 0 turns that off."""
        await self.start()
        await self.twice({"smtp_tls_session_cache_database": "btree:sessions", "smtp_tls_session_cache_timeout": "0"})
        self.assertEqual(self.resumed, [False, False])

    async def test_tlsmgr_service_name(self) -> None:
        """The next process finds the session where the one before has left it: with the service of this name."""
        await self.start()
        queue = Path(socket_path(self)).parent
        (queue / "private").mkdir()
        tlsmgr = Tlsmgr(self.protocol)
        listening = await tlsmgr.listen(reactor, str(queue / "private" / "sessions"))
        self.addCleanup(listening.stopListening)
        named = {"queue_directory": str(queue), "tlsmgr_service_name": "sessions"}
        cache = {"smtp_tls_session_cache_database": "btree:sessions", **named}
        for _ in range(2):
            settings = {**SETTINGS, **self.settings("encrypt", cache)}
            loaded = load_settings(None, protocol=self.protocol, overrides=list(settings.items()))
            sessions = PrivateServices(loaded, POSTFIX_3_7, reactor, self.emit).tls_sessions()
            assert sessions is not None
            agent = build_agent(
                loaded,
                open_tables(loaded, reactor, self.emit),
                reactor,
                build_resolver(reactor, self.emit, [self.names]),
                self.emit,
                tls_sessions=sessions,
            )
            await self.deliver_by(agent)
            sessions.close()
        self.assertEqual(self.resumed, [False, True])
        # A session that goes on is not stored again at once.
        self.assertEqual([verb for verb, *_ in tlsmgr.requests], ["lookup", "update", "lookup"])

    async def test_tls_fast_shutdown_enable(self) -> None:
        """With no, the server's farewell is waited for."""
        await self.start("valid", ("QUIT", Deaf(0.4, Raw(b"221 2.0.0 Bye\r\n"))))
        self.assertEqual(await self.send("encrypt", tls_fast_shutdown_enable="no", smtp_starttls_timeout="1s"), "sent")
        await deferLater(reactor, 0.2)
        self.assertTrue(any(isinstance(reader, ClientTransport) for reader in reactor.getReaders()))
        await self.server.until(lambda: not self.server.sessions[0].open)

    async def test_tls_config_file(self) -> None:
        """A file without a full path is refused, and TLS with it."""
        await self.start()
        self.assertEqual(await self.send("encrypt", tls_config_file="openssl.cnf"), NO_ENGINE)

    async def test_tls_config_name(self) -> None:
        """A name that leads to a section that the file has not is refused, and TLS with it."""
        await self.start()
        path = self.folder / "openssl.cnf"
        path.write_text("openssl_conf = init\nlost = nowhere\n[init]\n")
        self.assertEqual(await self.send("encrypt", tls_config_file=str(path), tls_config_name="lost"), NO_ENGINE)

    async def test_smtp_tls_enable_rpk(self) -> None:
        """That raw public keys cannot be had is told to who wants to know much."""
        await self.start()
        self.assertEqual(await self.send("encrypt", smtp_tls_enable_rpk="yes", smtp_tls_loglevel="2"), "sent")
        self.assertTrue(self.logged(f"{self.protocol}_tls_enable_rpk"))

    # ---- DANE ----

    async def dane(self, association: str, level: str = "dane", *, mx_secure: bool = True, **settings: str) -> str:
        """Deliver where this TLSA record is found."""
        await self.start_dane({f"_{{port}}._tcp.{HOST}": association}, mx_secure=mx_secure)
        return await self.send(level, smtp_dns_support_level="dnssec", **settings)

    async def start_dane(
        self, associations: Mapping[str, str], *, mx_secure: bool = True, host_secure: bool = True
    ) -> None:
        """Start the server, and signed records for it."""
        await self.serve(tls=server_context(shared_pki()["valid"]))
        zone: dict[str, Any] = {
            "dest.example": {"MX": {"records": [f"10 {HOST}"], "secure": mx_secure}},
            HOST: {"A": {"records": ["127.0.0.1"], "secure": host_secure}},
            "": {"NS": {"records": ["ns.example"], "secure": True}},
        }
        for name, association in associations.items():
            zone[name.format(port=self.port)] = {"TLSA": {"records": [association], "secure": True}}
        self.names = await self.name_server(zone)

    async def test_smtp_tls_dane_insecure_mx_policy(self) -> None:
        """What a look-up of the mail exchanger that is not secure makes of TLSA records."""
        wrong = f"3 1 1 {'ab' * 32}"
        sent = await self.dane(wrong, mx_secure=False, smtp_tls_dane_insecure_mx_policy="may")
        self.assertEqual(sent, "sent")

    async def test_smtp_tls_force_insecure_host_tlsa_lookup(self) -> None:
        """TLSA records are looked up though the address is not secure."""
        wrong = f"3 1 1 {'ab' * 32}"
        await self.start_dane({f"_{{port}}._tcp.{HOST}": wrong}, host_secure=False)
        settings = {"smtp_dns_support_level": "dnssec", "smtp_tls_force_insecure_host_tlsa_lookup": "yes"}
        self.assertEqual(await self.send("dane", **settings), NOT_VERIFIED)

    async def test_tls_dane_digests(self) -> None:
        """A digest that is not among them is not used: such a record asks for encryption alone."""
        wrong = f"3 1 2 {'ab' * 64}"
        self.assertEqual(await self.dane(wrong, tls_dane_digests="sha256"), "sent")


class LmtpEffectTests(EffectTests):
    """The same by LMTP, where a destination is a host; each parameter has a name of its own, with the same effect."""

    protocol = "lmtp"
    domain = HOST
    nexthop = f"inet:{HOST}"

    async def test_smtp_tls_dane_insecure_mx_policy(self) -> None:
        """There is no such parameter: who has no mail exchangers has none to distrust."""
        settings = {"lmtp_tls_dane_insecure_mx_policy": "may", "smtp_tls_dane_insecure_mx_policy": "may"}
        self.assertEqual(await self.dane(f"3 1 1 {'ab' * 32}", mx_secure=False, **settings), NOT_VERIFIED)


def _subject_hash(identity: Identity) -> int:
    """OpenSSL's hash of a subject, by which it finds files in a directory."""
    return int(crypto.X509.from_cryptography(identity.certificate).subject_name_hash())
