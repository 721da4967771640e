"""Delivery to Dovecot's LMTP server, over a local socket and over TCP."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.interop.case import InteropCase, message
from tests.kit.postfix import delivery_status
from tests.kit.processes import kill_group

DOVECOT = shutil.which("dovecot", path=f"/usr/sbin:{os.defpath}")

CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = lmtp
{tls}
listen = 127.0.0.1
mail_location = maildir:{directory}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
service lmtp {{
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 192.0.2.1
    port = 24
  }}
}}
"""


class DovecotCase(InteropCase):
    """A Dovecot with one user, alice@dest.example."""

    protocol = "lmtp"
    if not InteropCase.skip and not (DOVECOT and Path("/usr/lib/dovecot/lmtp").exists()):
        skip = "needs Dovecot's LMTP server (Debian package dovecot-lmtpd)"

    async def dovecot(self, tls: str = "ssl = no") -> Path:
        """Start Dovecot, with these settings of TLS; returns its folder."""
        folder = self.directory / "dovecot"
        (folder / "mail").mkdir(parents=True)
        (folder / "state").mkdir()
        owner = pwd.getpwnam("nobody")
        os.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        (folder / "users").write_text(
            f"alice@dest.example:{{PLAIN}}secret:{owner.pw_uid}:{owner.pw_gid}::{folder}/home::\n"
        )
        configuration = folder / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(directory=folder, tls=tls))
        assert DOVECOT is not None
        process = subprocess.Popen(
            [DOVECOT, "-F", "-c", str(configuration)], stdin=subprocess.DEVNULL, start_new_session=True
        )

        async def stop() -> None:
            process.terminate()
            await self.postfix.wait_for(lambda: process.poll() is not None, "Dovecot does not end")
            # Its children end by themselves, a little later.
            kill_group(process.pid)

        self.addCleanup(stop)
        return folder


class DovecotTests(DovecotCase):
    """In the clear."""

    async def test_lmtp_over_a_local_socket(self) -> None:
        """One transaction, two fates: the known user gets the message as it was sent, the unknown one is returned."""
        folder = await self.dovecot()
        socket = folder / "lmtp"
        await self.begin(routes={"dest.example": f"unix:{socket}"})
        await self.postfix.wait_for(socket.exists, "Dovecot does not start")
        body = ".one dot\n..two dots\n.\nlast\n"
        await self.postfix.submit(
            "sender@sender.example", ["alice@dest.example", "bob@dest.example"], message(body=body)
        )
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])
        (stored,) = (folder / "mail" / "alice@dest.example" / "new").iterdir()
        content = stored.read_bytes()
        self.assertIn(b"Delivered-To: alice@dest.example\n", content)
        self.assertEqual(content.partition(b"\n\n")[2], body.encode())
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Final-Recipient"], "rfc822; bob@dest.example")
        self.assertEqual(fields["Status"], "5.1.1")
        self.assertRegex(fields["Diagnostic-Code"], r"smtp; 550 5\.1\.1 .*User doesn't exist")
        self.assertEqual(
            len(self.postfix.log("to=<alice@dest.example>", f"relay=client.example.com[{socket}]", "status=sent")), 1
        )

    async def test_lmtp_over_tcp(self) -> None:
        """The same over inet:: one is taken, and the unknown ones are returned."""
        folder = await self.dovecot()
        await self.begin(routes={"dest.example": "inet:[192.0.2.1]"})
        await self.postfix.wait_for((folder / "lmtp").exists, "Dovecot does not start")
        body = "".join(f"{number:06d}" for number in range(150)) + "\n.\nGr\u00fc\u00dfe\n"
        recipients = ["alice@dest.example", "bob@dest.example", "carol@dest.example"]
        await self.postfix.submit("sender@sender.example", recipients, message(body=body))
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])
        (stored,) = (folder / "mail" / "alice@dest.example" / "new").iterdir()
        self.assertEqual(stored.read_bytes().partition(b"\n\n")[2].decode(), body)
        sent = self.postfix.log(
            "relay=192.0.2.1[192.0.2.1]:24", "dsn=2.0.0, status=sent (250 2.0.0 <alice@dest.example>"
        )
        self.assertEqual(len(sent), 1)
        self.assertEqual(len(self.postfix.log("dsn=5.1.1, status=bounced", "in reply to RCPT TO command")), 2)
