"""The commands, as processes of their own."""

import json
import os
import sys
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from tests.kit.script import Script
from tests.scenarios.world import WorldTestCase, reactor

ZONE = {"dest.example": {"MX": ["10 mx.dest.example"]}, "mx.dest.example": {"A": ["127.0.0.1"]}}


class CommandTests(WorldTestCase):
    async def smtpdeliver(self, *words: str, stdin: bytes = b"") -> tuple[str, str, int]:
        """Run the command; returns what it printed, what it complained of, and its status."""
        arguments = ["-m", "twisted_mta.cli", *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, arguments, environment, reactor=reactor, stdinBytes=stdin
        )
        return out.decode(), err.decode(), status

    async def test_demo(self) -> None:
        """The demo delivers a message, shows how, and says where it lies."""
        directory = os.path.abspath(self.mktemp())
        out, err, status = await self.smtpdeliver("demo", "--directory", directory)
        self.assertEqual((err, status), ("", 0))
        self.assertIn("  C: MAIL FROM:<sender@client.example>", out)
        self.assertIn("<alice@demo.example> sent: 2.0.0", out)
        self.assertIn("<nobody@demo.example> bounced: 5.0.0", out)
        with open(os.path.join(directory, "received.eml"), "rb") as received:
            self.assertIn(b"\n.\nThe line above is a lone dot", received.read())

    async def send(self, *words: str) -> tuple[Any, int]:
        """Send a message; returns the outcome of each recipient and the status."""
        out, err, status = await self.smtpdeliver(
            "send", "--json", "-o", "inet_interfaces=127.0.0.1", *words, stdin=b"Subject: x\n\nHello.\n"
        )
        self.assertEqual(err, "")
        return [json.loads(line) for line in out.splitlines()], status

    async def test_send(self) -> None:
        """Send looks up the recipients' domain; what became of each is printed, and makes the exit status."""
        script = Script(("RCPT TO:<bad@", "550 5.1.1 no such user"), ("RCPT TO:<later@", "450 4.2.0 later"))
        server, port = await self.mail_server(script)
        names, names_port = await self.name_server(ZONE)
        common = ["--nameserver", f"{names}:{names_port}", "-o", f"smtp_tcp_port={port}", "-f", "me@client.example"]
        outcome, status = await self.send(*common, "good@dest.example")
        self.assertEqual((outcome[0]["status"], outcome[0]["dsn"], status), ("sent", "2.0.0", os.EX_OK))
        outcome, status = await self.send(*common, "good@dest.example", "bad@dest.example")
        self.assertEqual([row["status"] for row in outcome], ["bounced", "sent"])
        self.assertEqual(status, os.EX_UNAVAILABLE)
        outcome, status = await self.send(*common, "later@dest.example", "bad@dest.example")
        self.assertEqual(status, os.EX_TEMPFAIL)
        self.assertTrue(all(message.sender.startswith("<me@client.example>") for message in server.messages))

    async def test_wrong_words(self) -> None:
        """What cannot be used is named."""
        for words, complaint, expected in (
            (["send", "nobody"], 'recipient "nobody" has no domain', os.EX_USAGE),
            (["send", "-o", "nonsense", "a@b.example"], 'invalid "-o nonsense" option value', os.EX_CONFIG),
            (["send", "-o", "smtp_mail_timeout=1x", "a@b.example"], "smtp_mail_timeout", os.EX_CONFIG),
            (["send", "--nameserver", "1.2.3.4:x", "a@b.example"], "--nameserver", os.EX_USAGE),
            (["--config-directory", "/nowhere", "send", "a@b.example"], "/nowhere/main.cf", os.EX_CONFIG),
        ):
            out, err, status = await self.smtpdeliver(*words)
            self.assertEqual((out, status), ("", expected), words)
            self.assertIn(complaint, err)
