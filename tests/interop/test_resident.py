"""What parameters about the life of a process mean for one that stays."""

import subprocess

from tests.interop.case import InteropCase, message, needs_own_service

OURS = "192.0.2.50"


class IdleTests(InteropCase):
    """max_idle."""

    async def deliver(self, recipient: str) -> list[str]:
        """Send a message; the log lines about its recipient."""
        await self.postfix.submit("s@sender.example", [recipient], message())
        await self.postfix.settle()
        return self.postfix.log(f"to=<{recipient}>")

    async def test_addresses_of_the_machine(self) -> None:
        """After a while without mail all is taken up anew, also what nobody watches: the addresses of this machine."""
        needs_own_service()
        self.name_server({"dest.example": {"MX": ["10 mx.dest.example"]}, "mx.dest.example": {"A": [OURS]}})
        await self.server(OURS)
        # A bind address, or else the only address of the machine would be taken for one that is implied.
        settings = {"inet_interfaces": "all", "max_idle": "2s", "smtp_bind_address": "127.0.0.1"}
        await self.begin(settings, routes={})
        self.assertIn("status=sent", (await self.deliver("a@dest.example"))[0])
        subprocess.run(["ip", "address", "add", f"{OURS}/32", "dev", "lo"], check=True)
        self.addCleanup(subprocess.run, ["ip", "address", "del", f"{OURS}/32", "dev", "lo"], check=True)
        self.assertIn("status=sent", (await self.deliver("b@dest.example"))[0])
        await self.postfix.pause(2.1)
        self.assertIn("mail for dest.example loops back to myself", (await self.deliver("c@dest.example"))[0])
