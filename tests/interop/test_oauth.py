"""Logins with OAuth2 tokens to a Postfix whose Dovecot asks a token server about them, by XOAUTH2 and OAUTHBEARER, inside TLS."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from tests.interop.case import InteropCase, installed_package, message, needs_own_service
from tests.kit.pki import HOST, shared_pki
from tests.kit.postfix import MASTER_CF, Postfix
from tests.kit.processes import kill_group
from tests.kit.token_server import TokenServer
from twisted_mta.oauth.accounts import FOLDER

SERVER = "192.0.2.1"
SENDER = "sender@sender.example"
USER = "alice@dest.example"
DOVECOT = shutil.which("dovecot", path=f"/usr/sbin:{os.defpath}")

AUTH = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
auth_verbose = yes
protocols =
ssl = no
listen = 127.0.0.1
auth_mechanisms = oauthbearer xoauth2
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""

TOKENS = """\
tokeninfo_url = {server}/tokeninfo?access_token=
introspection_url = {server}/introspect
introspection_mode = post
force_introspection = yes
username_attribute = email
active_attribute = active
active_value = true
"""

ACCOUNTS = {
    "service": 'grant = "client_credentials"\n',
    "person": 'grant = "device_code"\ndevice_authorization_endpoint = "{server}/device"\n',
}

ACCOUNT = """\
client_id = "client"
client_secret = "hush"
token_endpoint = "{server}/token"
revocation_endpoint = "{server}/revoke"
"""


class OauthTests(InteropCase):
    """A Postfix of ours, a Postfix of the provider with its Dovecot, and a token server."""

    if not InteropCase.skip and not DOVECOT:
        skip = "needs Dovecot (Debian package dovecot-core)"

    async def begin_with_provider(self, user: str, account: str, mechanism: str) -> None:
        """Start everything.

        Args:
            user: who logs in.
            account: what the password table has in place of a password.
            mechanism: the only one that we may use.
        """
        needs_own_service()
        self.tokens = TokenServer(reactor.seconds)
        self.tokens.listen(reactor)
        self.tokens.interval_seconds = 1
        self.addCleanup(self.tokens.stop)
        folder = self.start_dovecot()
        certificates = self.directory / "certificates"
        certificates.mkdir()
        certificates.chmod(0o755)
        authority = shared_pki().root.write(certificates, "root").certificate
        chain = shared_pki()["valid"].write(certificates, "valid").both
        for path in certificates.iterdir():
            path.chmod(0o644)
        self.name_server({HOST: {"A": [SERVER]}})
        self.create(
            {
                "smtp_tls_security_level": "verify",
                "smtp_tls_CAfile": authority,
                "smtp_dns_support_level": "enabled",
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_tls_security_options": "noanonymous",
                "smtp_sasl_mechanism_filter": mechanism,
                "smtp_sasl_password_maps": f"inline:{{ {{{HOST} = {user}:oauth2:{account}}} }}",
            },
            routes={"dest.example": f"[{HOST}]"},
        )
        self.write_accounts()
        await self.start()
        self.provider = Postfix(self.directory / "mx", reactor)
        self.provider.directory.mkdir()
        self.provider.create(
            {
                "myhostname": HOST,
                "virtual_mailbox_domains": "dest.example, sender.example",
                "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": str(folder / "auth"),
                "smtpd_tls_security_level": "encrypt",
                "smtpd_tls_auth_only": "yes",
                "smtpd_tls_chain_files": str(chain),
                "smtpd_peername_lookup": "no",
            }
        )
        self.provider.write("master.cf", MASTER_CF.replace("127.0.0.1:10025", f"{SERVER}:25"))
        self.addCleanup(self.provider.stop)
        await self.provider.start()
        await self.postfix.wait_for((folder / "auth").exists, "Dovecot does not start")

    def start_dovecot(self) -> Path:
        """Start Dovecot's authentication; returns its folder."""
        folder = self.directory / "dovecot"
        (folder / "state").mkdir(parents=True)
        (folder / "oauth2").write_text(TOKENS.format(server=self.tokens.url("")))
        configuration = folder / "dovecot.conf"
        configuration.write_text(AUTH.format(folder=folder))
        assert DOVECOT is not None
        process = subprocess.Popen(
            [DOVECOT, "-F", "-c", str(configuration)], stdin=subprocess.DEVNULL, start_new_session=True
        )

        async def stop() -> None:
            self._story += (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
            process.terminate()
            await self.postfix.wait_for(lambda: process.poll() is not None, "Dovecot does not end")
            kill_group(process.pid)

        self.addCleanup(stop)
        return folder

    def write_accounts(self) -> None:
        """Write the account files; the service, which is user postfix, may read them, and nobody else."""
        folder = self.postfix.etc / FOLDER
        folder.mkdir()
        for name, text in ACCOUNTS.items():
            path = folder / f"{name}.toml"
            path.write_text((text + ACCOUNT).format(server=self.tokens.url("")))
            os.chown(path, 0, pwd.getpwnam("postfix").pw_gid)
            path.chmod(0o640)

    @property
    def token_file(self) -> Path:
        """Where the tokens of the user are."""
        return self.postfix.directory / "data" / FOLDER / f"person:{USER}.json"

    async def oauth(self, *words: str) -> tuple[list[Any], str, int]:
        """Run ``smtpdeliver oauth`` as root; returns the objects that it shows, what it complains of, and its status."""
        command = ["-m", "twisted_mta.cli", "--config-directory", str(self.postfix.etc), "oauth", *words]
        environment = {"PATH": f"/usr/sbin:{os.defpath}", "PYTHONPATH": str(installed_package())}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, command, environment, path="/", reactor=reactor
        )
        return [json.loads(line) for line in out.decode().splitlines()], err.decode(), status

    async def log_in(self) -> None:
        """A person consents to our device."""
        before = self.devices()
        logging_in = Deferred.fromCoroutine(self.oauth("login", "--json", "person", USER))
        await self.postfix.wait_for(lambda: self.devices() > before, "nobody asks for a device code")
        self.tokens.consent(USER)
        shown, complaints, status = await logging_in
        self.assertEqual((complaints, status), ("", 0))
        self.assertEqual(shown[-1]["has_refresh_token"], True)

    def devices(self) -> int:
        """How often a device code was asked for."""
        return len([asked for asked in self.tokens.requests if asked.path == "/device"])

    async def send(self) -> str:
        """Send a message; the line that tells what became of it."""
        await self.postfix.submit(SENDER, ["bob@dest.example"], message())
        await self.postfix.settle()
        return str(self.postfix.log("to=<bob@dest.example>", "status=")[-1])

    async def flush(self) -> str:
        """Try the deferred mail again; the line that tells what became of it."""
        await self.postfix.flush()
        await self.postfix.settle()
        return str(self.postfix.log("to=<bob@dest.example>", "status=")[-1])

    def methods(self) -> list[str]:
        """The logins that the provider saw."""
        lines = self.provider.log("sasl_method=")
        return [line.partition("sasl_method=")[2] for line in lines]

    def no_secrets(self) -> None:
        """No log of ours has a token or a secret in it."""
        told = "\n".join([*self.postfix.log(), self.agent.printed])
        refreshes = [asked.fields["refresh_token"] for asked in self.tokens.posted("refresh_token")]
        for secret in ("hush", *refreshes, *self.tokens.given(USER), *self.tokens.given(self.tokens.service_user)):
            self.assertNotIn(secret, told)

    async def application(self, mechanism: str) -> None:
        """An application delivers with a token of its own, one for several messages."""
        await self.begin_with_provider("service@dest.example", "service", mechanism)
        for _ in range(2):
            self.assertIn("dsn=2.0.0, status=sent", await self.send())
        method = f"{mechanism.upper()}, sasl_username=service@dest.example"
        self.assertEqual(set(self.methods()), {method})
        self.assertEqual(len(self.tokens.posted("client_credentials")), 1)
        self.assertEqual(len(self.provider.reports()), 2)
        self.no_secrets()

    async def test_application_by_xoauth2(self) -> None:
        """An application logs in by XOAUTH2, with the token that it has fetched."""
        await self.application("xoauth2")

    async def test_application_by_oauthbearer(self) -> None:
        """The same by OAUTHBEARER."""
        await self.application("oauthbearer")

    async def test_person(self) -> None:
        """From the first message to a consent that is withdrawn: what is told, what is kept, and that mail only ever waits."""
        await self.begin_with_provider(USER, "person", "oauthbearer, xoauth2")
        advice = f"smtpdeliver oauth login person {USER}"
        line = await self.send()
        self.assertIn("dsn=4.7.0, status=deferred", line)
        self.assertIn(f"nobody has consented yet; run: {advice}", line)
        await self.log_in()
        self.assertIn("status=sent", await self.flush())
        self.assertEqual(self.methods()[-1], f"OAUTHBEARER, sasl_username={USER}")
        found = self.token_file.stat()
        self.assertEqual((found.st_uid, found.st_mode & 0o7777), (pwd.getpwnam("postfix").pw_uid, 0o600))

        shown, complaints, status = await self.oauth("refresh", "--json", "person", USER)
        self.assertEqual((complaints, status, shown[0]["is_usable"]), ("", 0, True))
        self.assertIn("status=sent", await self.send())

        # The provider forgets the access token: Dovecot refuses it, and the next attempt comes with another one.
        for grant in self.tokens._grants:
            grant.access = dict.fromkeys(grant.access, 0.0)
        line = await self.send()
        self.assertRegex(line, r"dsn=4\.7\.\d+, status=deferred \(SASL authentication failed; server .* said: 535")
        self.assertIn("status=sent", await self.flush())
        self.assertEqual(len(self.tokens.posted("refresh_token")), 2)

        self.tokens.withdraw(USER)
        self.assertIn("status=deferred (SASL authentication failed; server", await self.send())
        _, complaints, status = await self.oauth("refresh", "--json", "person", USER)
        self.assertEqual(status, os.EX_NOPERM)
        self.assertIn(f"the token server says invalid_grant (refresh token *** is no good); run: {advice}", complaints)
        await self.log_in()
        self.assertIn("status=sent", await self.flush())

        shown, complaints, status = await self.oauth("forget", "--json", "person", USER)
        self.assertEqual((complaints, status, shown[0]["revoked"]), ("", 0, True))
        self.assertFalse(self.token_file.exists())
        self.assertEqual(await self.postfix.queue(), [])
        self.no_secrets()
