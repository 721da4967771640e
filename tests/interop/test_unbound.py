"""A real validating resolver: Unbound, with signed, unsigned and forged zones of its own.

The root zone is signed, and the resolver trusts its key. ``dest.example`` lies in it. ``plain.example`` is an unsigned zone below
it, as the root zone proves; ``forged.example`` is unsigned, too, though the root zone says that it is signed.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.interop.case import InteropCase, message, needs_own_service
from tests.kit import namespace
from tests.kit.processes import kill_group
from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import AddressRecord, Answer, LookupResult, MxRecord, RecordType, SrvRecord, TlsaRecord
from twisted_mta.model.events import Event

UNBOUND = shutil.which("unbound", path=f"/usr/sbin:{os.defpath}")
WHY_NOT = namespace.why_not() or ("" if UNBOUND else "needs Unbound (Debian package unbound)")

A, AAAA, MX, NS, SRV, TLSA = (
    RecordType.A, RecordType.AAAA, RecordType.MX, RecordType.NS, RecordType.SRV, RecordType.TLSA,
)  # fmt: skip

TTL = 60
MANY = 60
"""So many MX records do not fit into a UDP message."""

ROOT_ZONE = f"""\
$TTL {TTL}
@ SOA ns. hostmaster. 1 3600 900 604800 30
@ NS ns.
ns. A 127.0.0.1
dest.example. MX 10 mx.dest.example.
dest.example. MX 20 backup.plain.example.
mx.dest.example. A 192.0.2.1
mx.dest.example. AAAA 2001:db8::1
_submission._tcp.dest.example. SRV 10 20 587 mx.dest.example.
_25._tcp.mx.dest.example. TLSA 3 1 1 {"ab" * 32}
alias.example. CNAME dest.example.
away.example. CNAME plain.example.
nomail.example. MX 0 .
{"".join(f"many.example. MX {number} mx{number}-of-many-with-a-long-name.dest.example." + chr(10) for number in range(MANY))}\
plain.example. NS ns.
forged.example. NS ns.
forged.example. DS 12345 13 2 {"cd" * 32}
"""

UNSIGNED_ZONE = f"""\
$TTL {TTL}
@ SOA ns. hostmaster. 1 3600 900 604800 30
@ NS ns.
@ MX 10 mx
mx A 192.0.2.2
backup A 192.0.2.3
"""

CONFIGURATION = """\
server:
    interface: 127.0.0.1
    port: 53
    do-daemonize: no
    use-syslog: no
    logfile: "{directory}/log"
    pidfile: ""
    chroot: ""
    username: ""
    directory: "{directory}"
    module-config: "{modules}"
    trust-anchor: "{anchor}"
    trust-anchor-signaling: no
    qname-minimisation: no
    do-not-query-localhost: no
    local-zone: "example." nodefault
    cache-max-ttl: 0
remote-control:
    control-enable: no
"""

ZONE = """\
auth-zone:
    name: "{name}"
    zonefile: "{file}"
    for-upstream: yes
    for-downstream: no
    fallback-enabled: no
"""


class Unbound:
    """An Unbound in the test's network.

    Args:
        directory: for its files; empty.
        records: more of the root zone.
    """

    def __init__(self, directory: Path, records: str = "") -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._zones: dict[str, Path] = {}
        directory.mkdir()
        self._anchor = self.write_root(ROOT_ZONE + records)
        for name in ("plain.example.", "forged.example."):
            self._write(name, UNSIGNED_ZONE)

    def write_root(self, text: str) -> str:
        """Write the root zone, signed; returns the key as a record."""
        private = ec.generate_private_key(ec.SECP256R1())
        key = dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags=257)
        zone = dns.zone.from_text(text, origin=".", relativize=False)
        dns.dnssec.sign_zone(zone, keys=[(private, key)], lifetime=86400)
        self._write(".", zone.to_text(relativize=False))
        return f". {TTL} IN DNSKEY {key.to_text()}"

    def _write(self, name: str, text: str) -> None:
        path = self._directory / f"zone-{len(self._zones)}"
        path.write_text(text)
        self._zones[name] = path

    async def start(self, *, validating: bool = True) -> None:
        """Start it, and wait until it answers."""
        modules = "validator iterator" if validating else "iterator"
        configuration = CONFIGURATION.format(directory=self._directory, modules=modules, anchor=self._anchor)
        zones = "".join(ZONE.format(name=name, file=path) for name, path in self._zones.items())
        path = self._directory / "unbound.conf"
        path.write_text(configuration + zones)
        assert UNBOUND is not None
        self._process = subprocess.Popen([UNBOUND, "-d", "-c", str(path)], start_new_session=True)
        resolver = StubResolver.for_servers(reactor, [("127.0.0.1", 53)], lambda event: None)
        for _ in range(100):
            if self._process.poll() is not None:
                raise AssertionError(f"Unbound ended: {(self._directory / 'log').read_text()}")
            answer = await resolver.lookup("ns", A)
            if answer.result is LookupResult.OK:
                return
            await deferLater(reactor, 0.05)
        raise AssertionError(f"Unbound does not answer: {answer.reason}")

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            process, self._process = self._process, None
            kill_group(process.pid)
            process.wait()


class ResolverTests(TestCase):
    """Our resolver, asking Unbound."""

    timeout = 60
    skip = WHY_NOT or None

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        """Start Unbound."""
        self.directory = namespace.WORK / self.id().rpartition(".")[2]
        self.unbound = Unbound(self.directory)
        self.addCleanup(shutil.rmtree, self.directory)
        self.addCleanup(self.unbound.stop)
        await self.unbound.start()
        self.events: list[Event] = []
        self.resolver: IDNSClient = StubResolver.for_servers(reactor, [("127.0.0.1", 53)], self.events.append)

    async def ask(self, name: str, rdtype: RecordType, *, dnssec: bool = True) -> Answer:
        """Ask a question."""
        return await self.resolver.lookup(name, rdtype, dnssec=dnssec)

    async def test_signed(self) -> None:
        """Records of each type that mail needs, validated."""
        expected: Mapping[tuple[str, RecordType], tuple[object, ...]] = {
            ("dest.example", MX): (
                MxRecord("dest.example", TTL, 10, "mx.dest.example"),
                MxRecord("dest.example", TTL, 20, "backup.plain.example"),
            ),
            ("mx.dest.example", A): (AddressRecord("mx.dest.example", TTL, "192.0.2.1"),),
            ("mx.dest.example", AAAA): (AddressRecord("mx.dest.example", TTL, "2001:db8::1"),),
            ("_submission._tcp.dest.example", SRV): (
                SrvRecord("_submission._tcp.dest.example", TTL, 10, 20, 587, "mx.dest.example"),
            ),
            ("_25._tcp.mx.dest.example", TLSA): (TlsaRecord("_25._tcp.mx.dest.example", TTL, 3, 1, 1, b"\xab" * 32),),
        }
        for (name, rdtype), records in expected.items():
            answer = await self.ask(name, rdtype)
            self.assertEqual((answer.result, answer.secure), (LookupResult.OK, True), answer)
            self.assertEqual(set(answer.records), set(records))
        self.assertTrue((await self.ask(".", NS)).secure, "what dnssec_probe asks")
        self.assertFalse((await self.ask("dest.example", MX, dnssec=False)).secure)
        self.assertEqual(self.events, [])

    async def test_unsigned(self) -> None:
        """An unsigned zone gives answers, which nothing vouches for."""
        answer = await self.ask("plain.example", MX)
        self.assertEqual((answer.result, answer.secure), (LookupResult.OK, False))

    async def test_forged(self) -> None:
        """What should be signed and is not cannot be had: try again later."""
        answer = await self.ask("forged.example", MX)
        self.assertEqual((answer.result, answer.records), (LookupResult.RETRY, ()))
        self.assertIn("type=MX: Host not found, try again", answer.reason)

    async def test_aliases(self) -> None:
        """An alias within the signed zone is as good as its target; one that leads out of it is not."""
        near, far = await self.ask("alias.example", MX), await self.ask("away.example", MX)
        self.assertEqual((near.result, near.secure, near.records[0].owner), (LookupResult.OK, True, "dest.example"))
        self.assertEqual((far.result, far.secure, far.records[0].owner), (LookupResult.OK, False, "plain.example"))

    async def test_absence(self) -> None:
        """That there is nothing is proved, too, and holds for as long as the zone says."""
        for name, rdtype, secure in (
            ("nx.dest.example", A, True), ("dest.example", AAAA, True), ("nx.plain.example", A, False),
        ):  # fmt: skip
            answer = await self.ask(name, rdtype)
            self.assertEqual((answer.result, answer.secure), (LookupResult.NOT_FOUND, secure), answer)
            self.assertTrue(0 < answer.lifetime <= 30, answer.lifetime)

    async def test_null_mx(self) -> None:
        """A domain that takes no mail, provably."""
        answer = await self.ask("nomail.example", MX)
        self.assertEqual((answer.result, answer.secure), (LookupResult.NULL_MX, True))

    async def test_large_answer(self) -> None:
        """An answer that only TCP can carry."""
        for dnssec in (True, False):
            answer = await self.ask("many.example", MX, dnssec=dnssec)
            self.assertEqual((len(answer.records), answer.secure), (MANY, dnssec))

    async def test_nobody_there(self) -> None:
        """A server that is gone, and comes back."""
        await self.unbound.stop()
        self.assertEqual((await self.ask("dest.example", MX)).result, LookupResult.RETRY)
        await self.unbound.start()
        self.assertEqual((await self.ask("dest.example", MX)).result, LookupResult.OK)

    async def test_cache(self) -> None:
        """What is remembered keeps its security status, for both ways of asking, and outlives the server."""
        self.resolver = CachingClient(self.resolver, reactor)
        questions = [("dest.example", MX), ("plain.example", MX), ("nx.dest.example", A), ("nomail.example", MX)]
        before = [await self.ask(*question, dnssec=dnssec) for question in questions for dnssec in (True, False)]
        await self.unbound.stop()
        after = [await self.ask(*question, dnssec=dnssec) for question in questions for dnssec in (True, False)]
        self.assertEqual(before, after)
        self.assertEqual([answer.secure for answer in after], [True, False, False, False, True, False, True, False])


class DeliveryTests(InteropCase):
    """Mail by way of Unbound."""

    if not InteropCase.skip:
        skip = WHY_NOT or None

    async def begin_with(self, *, validating: bool = True, **settings: str) -> Unbound:
        """Start Unbound and Postfix, and a server for dest.example."""
        unbound = Unbound(self.directory / "unbound")
        self.addCleanup(unbound.stop)
        await unbound.start(validating=validating)
        await self.server("192.0.2.1")
        await self.begin({"smtp_dns_support_level": "dnssec", "smtp_address_preference": "ipv4", **settings}, routes={})
        return unbound

    async def test_validating(self) -> None:
        """With a resolver that validates there is nothing to be said."""
        await self.begin_with()
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await self.postfix.settle()
        self.assertTrue(self.postfix.log("to=<r@dest.example>", "relay=mx.dest.example[192.0.2.1]:25", "status=sent"))
        self.assertEqual(self.postfix.log("DNSSEC"), [])

    async def test_not_validating(self) -> None:
        """With one that does not, it is said, once; mail is delivered all the same."""
        await self.begin_with(validating=False)
        for _ in range(2):
            await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
            await self.postfix.settle()
        self.assertEqual(len(self.postfix.log("to=<r@dest.example>", "status=sent")), 2)
        self.assertEqual(len(self.postfix.log("warning: DNSSEC validation may be unavailable")), 1)
        self.assertEqual(
            len(self.postfix.log("dnssec_probe 'ns:.' received a response that is not DNSSEC validated")), 1
        )

    async def test_forged(self) -> None:
        """Mail for a domain whose records are forged waits."""
        await self.begin_with()
        await self.postfix.submit("s@sender.example", ["r@forged.example"], message())
        await self.postfix.settle()
        queued = await self.only_queued()
        self.assertIn("name=forged.example type=MX: Host not found, try again", queued.recipients["r@forged.example"])

    async def test_resolver_is_gone(self) -> None:
        """Mail waits for the resolver; what is still known is delivered without it."""
        needs_own_service()
        unbound = await self.begin_with()
        await self.postfix.submit("s@sender.example", ["a@dest.example"], message())
        await self.postfix.settle()
        await unbound.stop()
        await self.postfix.submit("s@sender.example", ["b@dest.example"], message())
        await self.postfix.submit("s@sender.example", ["c@plain.example"], message())
        await self.postfix.settle()
        self.assertEqual(len(self.postfix.log("@dest.example>", "status=sent")), 2)
        self.assertTrue(self.postfix.log("to=<c@plain.example>", "dsn=4.4.3, status=deferred"))
        await self.server("192.0.2.2")
        await unbound.start()
        await self.postfix.flush()
        await self.postfix.settle()
        self.assertTrue(self.postfix.log("to=<c@plain.example>", "relay=mx.plain.example[192.0.2.2]:25", "status=sent"))

    async def test_without_cache(self) -> None:
        """With --dns-cache=0 nothing is known without the resolver."""
        needs_own_service()
        unbound = Unbound(self.directory / "unbound")
        self.addCleanup(unbound.stop)
        await unbound.start()
        await self.server("192.0.2.1")
        await self.begin(options=["--dns-cache=0"], routes={})
        await self.postfix.submit("s@sender.example", ["a@dest.example"], message())
        await self.postfix.settle()
        await unbound.stop()
        await self.postfix.submit("s@sender.example", ["b@dest.example"], message())
        await self.postfix.settle()
        self.assertTrue(self.postfix.log("to=<a@dest.example>", "status=sent"))
        self.assertTrue(self.postfix.log("to=<b@dest.example>", "dsn=4.4.3, status=deferred"))
