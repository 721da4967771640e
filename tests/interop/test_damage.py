"""Queue files that are damaged or gone, and a service that is killed."""

from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.interop.case import LONG, InteropCase, message, needs_own_service
from tests.kit.postfix import delivery_status
from tests.kit.script import END_OF_DATA, Late
from tests.kit.smtp_server import ScriptedServer

SENDER = "sender@sender.example"


class DamageTests(InteropCase):
    """One server, 192.0.2.1, for all mail."""

    async def test_killed_in_mid_delivery(self) -> None:
        """A service that is killed while it delivers, and started again, loses no message."""
        needs_own_service()
        total = 40
        server = await self.server("192.0.2.1", (END_OF_DATA, Late(0.05)))
        impatient = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"}
        await self.begin({**impatient, "agent_destination_concurrency_failed_cohort_limit": "0"})
        for kill in range(1, LONG + 1):
            injected = Deferred.fromCoroutine(self.postfix.inject(total, f"kill{kill}@dest.example"))
            await server.until(partial(in_the_midst, server, len(server.messages) + 5))
            await self.service.kill()
            await self.service.start()
            await injected
            await self.postfix.wait_for(self.queue_is_empty, "mail is left in the queue", 50)
        arrived = {name.split()[0] for delivered in server.messages for name in delivered.recipients}
        self.assertEqual(len(arrived), total * LONG)
        self.assertGreaterEqual(len(self.postfix.log("private/agent socket: malformed response")), LONG)
        self.assertEqual(self.postfix.reports(), [])

    def queue_is_empty(self) -> bool:
        """Whether no message is in any queue."""
        return not any(self.postfix.queue_files("maildrop", "incoming", "active", "deferred"))

    async def test_corrupt_content(self) -> None:
        """A corrupt content record: the sender is told, the file is kept in corrupt/, others are served."""
        needs_own_service()
        server = await self.server("192.0.2.1", ("RCPT TO:<victim@", "451 4.3.0 later", None))
        await self.begin()
        await self.postfix.submit(SENDER, ["victim@dest.example"], message(body="before\nthe damaged line\nafter\n"))
        await self.postfix.settle()
        (path,) = self.postfix.queue_files("deferred")
        damage(path, b"the damaged line")
        await self.postfix.flush()
        await self.postfix.wait_for(self.postfix.reports, "the sender is not told")
        await self.postfix.settle()
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Final-Recipient"], "rfc822; victim@dest.example")
        self.assertEqual(fields["Status"], "5.3.0")
        self.assertIn("unreadable mail queue entry", report.as_string())
        (kept,) = self.postfix.queue_files("corrupt")
        self.assertIn(b"the damaged line", kept.read_bytes())
        await self.postfix.submit(SENDER, ["other@dest.example"], message())
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])

    async def test_vanished_queue_file(self) -> None:
        """A queue file that is gone when its turn comes does no harm to the others."""
        server = await self.server("192.0.2.1", (END_OF_DATA, Late(0.5), None))
        await self.begin({"agent_destination_concurrency_limit": "1", "initial_destination_concurrency": "1"})
        await self.postfix.submit(SENDER, ["first@dest.example"], message())
        await server.until(lambda: bool(server.sessions and server.sessions[0].messages))
        await self.postfix.submit(SENDER, ["vanished@dest.example"], message())
        await self.postfix.submit(SENDER, ["last@dest.example"], message())
        await self.postfix.wait_for(
            lambda: len(list(self.postfix.queue_files("active"))) == 3, "not three in the active queue"
        )
        (path,) = (path for path in self.postfix.queue_files("active") if b"vanished@" in path.read_bytes())
        path.unlink()
        await server.until(lambda: len(server.messages) == 2)
        await self.postfix.settle()
        recipients = [name.split()[0] for delivered in server.messages for name in delivered.recipients]
        self.assertEqual(recipients, ["<first@dest.example>", "<last@dest.example>"])


def in_the_midst(server: ScriptedServer, messages: int) -> bool:
    """Whether a server has so many messages, and another is on its way at this moment."""
    busy = any(session.open and session.commands[-1:] == ["DATA"] for session in server.sessions)
    return busy and len(server.messages) >= messages


def damage(path: Path, text: bytes) -> None:
    """Give the content record with this text, whose length takes one octet, a type that does not exist."""
    content = bytearray(path.read_bytes())
    content[content.index(b"N" + bytes([len(text)]) + text)] = ord("Q")
    path.write_bytes(content)
