"""Delivery through an entry of master.cf that starts smtpdeliver-spawn under spawn(8)."""

import os
import pwd
import sys
from pathlib import Path

from tests.interop.case import InteropCase, installed_package, message, needs_own_service

SENDER = "sender@sender.example"


class SpawnTests(InteropCase):
    """The transport is called spawned; the resident service has another name."""

    def control_socket(self) -> Path:
        """Where the connections are handed over: a folder that every user can enter."""
        folder = self.directory / "control"
        folder.mkdir()
        user = pwd.getpwnam("postfix")
        os.chown(folder, user.pw_uid, user.pw_gid)
        return folder / "socket"

    def configure(self) -> None:
        """Configure Postfix and the service."""
        needs_own_service()
        control = self.control_socket()
        program = installed_package() / "twisted_mta" / "postfix" / "spawn_shim.py"
        self.create(
            options=[f"--control-socket={control}"],
            services=f"spawned unix - n n - - spawn\n"
            f"    user=nobody argv={sys.executable} -I -S {program} --control {control}\n",
            transport="spawned",
        )

    async def test_delivered_through_spawn(self) -> None:
        """Messages that master(8) gives to spawn(8) are delivered by the resident service; refusals come back."""
        server = await self.server("192.0.2.1", ("RCPT TO:<bad", "550 5.1.1 no such user"))
        self.configure()
        await self.start()
        names = [f"user{number}@dest.example" for number in range(10)]
        for name in names:
            await self.postfix.submit(SENDER, [name, "bad@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(
            sorted(name.split()[0] for mail in server.messages for name in mail.recipients),
            [f"<{name}>" for name in names],
        )
        self.assertEqual(len(self.postfix.reports()), len(names))
        self.assertEqual(await self.postfix.queue(), [])

    async def test_service_is_not_there(self) -> None:
        """Without the service the mail is deferred; once it is back, a flush delivers it."""
        server = await self.server("192.0.2.1")
        self.configure()
        await self.start()
        await self.service.stop()
        await self.postfix.submit(SENDER, ["user@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(list((await self.only_queued()).recipients), ["user@dest.example"])
        await self.service.start()
        # The queue manager leaves a transport that failed alone for a second.
        await self.postfix.pause(1.2)
        await self.postfix.flush()
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])
