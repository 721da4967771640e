"""The service as root starts it: a supervisor, and workers that give root's rights up.

Sources: postconf(5) mail_owner, smtp_sasl_password_maps; master(8); proc(5).
"""

import base64
import os
import pwd
import signal
from pathlib import Path

from tests.interop.agents import SERVICE, RootServiceAgent
from tests.interop.test_generations import GenerationsCase, sender_of
from tests.kit.pki import Identity, shared_pki
from tests.kit.script import END_OF_DATA, Late
from tests.kit.server_tls import server_context

LOGIN = {
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_dns_support_level": "enabled",
}
KEYWORDS = ("PIPELINING", "AUTH PLAIN")


def status_of(process: int) -> dict[str, str]:
    """What the system knows of a process; empty if it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class SupervisorTests(GenerationsCase):
    """A service of root's."""

    service_class = RootServiceAgent
    timeout = 90

    def workers(self) -> list[int]:
        """The processes that the supervisor has started, and that are still there."""
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        states = ((process, status_of(process)) for process in processes)
        parent = str(self.service.process)
        return [process for process, state in states if state.get("PPid") == parent and state["State"][0] != "Z"]

    async def next_worker(self, *former: int) -> int:
        """Wait for a worker that is another one, and for the end of those before; gives its number."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = self.workers()
            return len(found) == 1 and found[0] not in former

        await self.postfix.wait_for(is_there, "there is no other worker")
        return found[0]

    def secret(self, name: str, text: str) -> Path:
        """Write a file that only root may read."""
        path = self.postfix.etc / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, 0, 0)
        return path

    async def postmap(self, kind: str, text: str) -> str:
        """Have a table made that only root may read; gives its name."""
        path = self.secret("passwords", text)
        status, said = await self.postfix.run("postmap", f"{kind}:{path}")
        self.assertEqual((status, said), (0, ""))
        return f"{kind}:{path}"

    @property
    def login(self) -> str:
        """The last one that the server saw: user and password."""
        words = [line.split() for session in self.destination.sessions for line in session.commands]
        *_, last = (each[2] for each in words if each[0] == "AUTH")
        return base64.b64decode(last).decode().replace("\0", " ").strip()

    async def test_rights(self) -> None:
        """The supervisor stays root, the worker is the mail owner for good, and delivers."""
        await self.begin_with_server({})
        self.assertEqual(await self.deliver(), "s@sender.example")
        owner = pwd.getpwnam("postfix")
        state = status_of(await self.next_worker())
        self.assertEqual(set(state["Uid"].split()), {str(owner.pw_uid)})
        self.assertEqual(set(state["Gid"].split()), {str(owner.pw_gid)})
        self.assertEqual(int(state["CapEff"], 16) | int(state["CapPrm"], 16), 0)
        self.assertEqual(set(status_of(self.service.process)["Uid"].split()), {"0"})

    async def check_passwords(self, kind: str, *, by_next_worker: bool) -> None:
        """Passwords that only root may read are there, and those that are written later, too; no mail is deferred for them."""
        self.create({"smtp_connection_cache_on_demand": "no", **LOGIN})
        table = await self.postmap(kind, "[192.0.2.1] user:first\n")
        self.postfix.configure({"smtp_sasl_password_maps": table})
        await self.start_with_server(("AUTH", "235 2.7.0 ok"), keywords=KEYWORDS)
        await self.deliver()
        self.assertEqual(self.login, "user first")
        worker = await self.next_worker()
        await self.postmap(kind, "[192.0.2.1] user:second\n")
        await self.deliver()
        if by_next_worker:
            await self.next_worker(worker)
        await self.deliver()
        self.assertEqual(self.login, "user second")
        self.assertEqual(self.postfix.log("status=deferred") + self.postfix.log("warning: "), [])

    async def test_hash(self) -> None:
        """hash: is written in place, and read by the next lookup."""
        await self.check_passwords("hash", by_next_worker=False)

    async def test_lmdb(self) -> None:
        """lmdb: shows to who has it open what is new."""
        await self.check_passwords("lmdb", by_next_worker=False)

    async def test_cdb(self) -> None:
        """cdb: is a new file, which a new worker opens."""
        await self.check_passwords("cdb", by_next_worker=True)

    async def test_text_and_parameters(self) -> None:
        """The same for text, and for the parameters of a database, which a new worker reads."""
        self.create({"smtp_connection_cache_on_demand": "no"})
        path = self.secret("text", "s@sender.example first@sender.example\n")
        self.postfix.configure({"smtp_generic_maps": f"texthash:{path}"})
        await self.start_with_server()
        self.assertEqual(await self.deliver(), "first@sender.example")
        worker = await self.next_worker()
        self.secret("text", "s@sender.example second@sender.example\n")
        worker = await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "second@sender.example")
        parameters = self.secret(
            "table.cf", f"dbpath = {self.secret('data', '')}\nquery = select 'third@sender.example'\n"
        )
        self.postfix.configure({"smtp_generic_maps": f"sqlite:{parameters}"})
        worker = await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "third@sender.example")
        self.secret("table.cf", parameters.read_text().replace("third", "fourth"))
        await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "fourth@sender.example")

    async def test_keys(self) -> None:
        """A key that only root may read is used, and so is the one that takes its place."""
        self.create({"smtp_connection_cache_on_demand": "no"})
        pki = shared_pki()
        names = {"smtp_tls_cert_file": "client-chain.pem", "smtp_tls_key_file": "client-key.pem"}
        files = {parameter: str(self.postfix.etc / name) for parameter, name in names.items()}
        self.write_identity(pki.issue("first", names=()))
        self.postfix.configure({"smtp_tls_security_level": "encrypt", **files})
        tls = server_context(pki["valid"], asks_for_certificate=True)
        await self.start_with_server(keywords=("PIPELINING", "STARTTLS"), tls=tls)
        await self.deliver()
        self.assertEqual(self.client, "first")
        worker = await self.next_worker()
        self.write_identity(pki.issue("second", names=()))
        await self.next_worker(worker)
        await self.deliver()
        self.assertEqual(self.client, "second")
        self.assertEqual(self.postfix.log("status=deferred") + self.postfix.log("warning: "), [])

    def write_identity(self, identity: Identity) -> None:
        """Write a certificate, and a key that only root may read."""
        self.secret("client-key.pem", identity.key_pem.decode())
        self.write("client-chain.pem", identity.chain_pem.decode())

    @property
    def client(self) -> str:
        """Whose certificate the server saw last."""
        handshakes = [session.handshake for session in self.destination.sessions if session.handshake]
        return handshakes[-1].client

    async def test_in_flight(self) -> None:
        """A message that is under way keeps its worker until it is done; the next one takes the others."""
        await self.begin_with_server({"smtp_generic_maps": "static:old@sender.example"}, ("DATA", Late(12.0), None))
        await self.submit()
        await self.destination.until(lambda: bool(self.destination.sessions))
        (former,) = self.workers()
        self.postfix.configure({"smtp_generic_maps": "static:new@sender.example"})
        await self.postfix.wait_for(
            lambda: [status_of(each)["Uid"][0] != "0" for each in self.workers()] == [True, True],
            "there is no second worker",
        )
        await self.postfix.pause(1.0)  # it has given root's rights up, and begins to serve
        await self.submit()
        await self.postfix.settle()
        self.assertEqual(
            [sender_of(each) for each in self.destination.messages], ["new@sender.example", "old@sender.example"]
        )
        self.assertNotEqual(await self.next_worker(former), former)

    async def test_broken(self) -> None:
        """A main.cf that cannot be used defers new mail; when it is mended, a new worker delivers."""
        await self.begin_with_server({})
        (worker,) = self.workers()
        self.postfix.configure({"smtp_helo_timeout": "1y"})
        await self.postfix.pause(2.5)
        for _ in range(2):
            self.assertRegex(await self.refused(), r"4\.3\.5.*bad time value or unit: 1y")
        self.assertEqual(len(self.postfix.log("]: error: ")), 1)
        self.postfix.configure({"smtp_helo_timeout": "1m"})
        await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "s@sender.example")

    async def test_reload(self) -> None:
        """SIGHUP to the supervisor has a new worker read all; requests that come meanwhile wait for it."""
        await self.begin_with_server({"smtp_generic_maps": "static:old@sender.example"})
        (worker,) = self.workers()
        self.postfix.configure({"smtp_generic_maps": "static:new@sender.example"})
        self.service.reload()
        self.assertEqual(await self.deliver(), "new@sender.example")
        self.assertNotIn(worker, self.workers())
        self.assertEqual(self.postfix.log("status=deferred"), [])

    async def test_master_cf(self) -> None:
        """What master.cf says counts after a reload of Postfix, and not for a worker that was started for another reason."""

        def entry(sender: str) -> str:
            return f"{SERVICE} unix - - n - - smtp -o smtp_generic_maps=static:{sender}\n"

        settings = {"master_service_disable": f"{SERVICE}/unix"}
        await self.begin_with_server(settings, services=entry("old@sender.example"))
        self.assertEqual(await self.deliver(), "old@sender.example")
        worker = await self.next_worker()
        path = self.postfix.etc / "master.cf"
        path.write_text(path.read_text().replace("old@", "new@"))
        self.postfix.configure({"smtp_helo_timeout": "299s"})
        worker = await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "old@sender.example")
        await self.postfix.reload()
        await self.deliver()  # this one shows that there is another queue manager
        await self.next_worker(worker)
        self.assertEqual(await self.deliver(), "new@sender.example")

    async def test_killed_worker(self) -> None:
        """A worker that is killed is replaced, and told of; its mail is tried again."""
        await self.begin_with_server({})
        worker = await self.next_worker()
        os.kill(worker, signal.SIGKILL)
        await self.next_worker(worker)
        self.assertEqual(len(self.postfix.log(f"{worker}", "warning: ")), 1)
        await self.postfix.flush()
        await self.deliver()

    async def test_end(self) -> None:
        """SIGTERM ends all with status 0, but lets the worker finish what it has."""
        await self.begin_with_server({}, (END_OF_DATA, Late(2.0)))
        recipient = await self.submit()
        await self.destination.until(lambda: any(session.commands for session in self.destination.sessions))
        await self.postfix.pause(0.5)
        (worker,) = self.workers()
        await self.agent.stop()  # which demands status 0
        self.assertEqual(status_of(worker), {})
        self.assertEqual(len(self.postfix.log(f"to=<{recipient}>", "status=sent")), 1)
