"""Logins at a Postfix that asks Cyrus SASL, Dovecot or Kerberos about them."""

import base64
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from twisted.internet import reactor

from tests.interop.case import InteropCase, message, needs_own_service
from tests.kit import namespace
from tests.kit.pki import shared_pki
from tests.kit.postfix import MASTER_CF, Postfix
from tests.kit.processes import kill_group

SERVER = "192.0.2.1"
HOST = "mx.dest.example"
SENDER = "sender@sender.example"
USER = "alice"
PASSWORD = "p\u00e4ss:w,=rd \u20ac"

SASLPASSWD = shutil.which("saslpasswd2", path=f"/usr/sbin:{os.defpath}")
DOVECOT = shutil.which("dovecot", path=f"/usr/sbin:{os.defpath}")

KDC = shutil.which("krb5kdc", path=f"/usr/sbin:{os.defpath}")
KERBEROS_PLUGIN = next(Path("/usr/lib").glob("*/sasl2/libgssapiv2.so"), Path("/nonexistent"))
GSSAPI_PASSWORD = "ticket-please"

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")

CYRUS = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {database}
mech_list: {mechanisms}
"""

DOVECOT_AUTH = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
listen = 127.0.0.1
auth_mechanisms = plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256
auth_realms = {host}
auth_failure_delay = 0
service anvil {{
  # Or every failure makes the next reply wait for longer.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""


KERBEROS = """\
[libdefaults]
default_realm = EXAMPLE.TEST
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
default_keytab_name = FILE:{folder}/keytab
default_ccache_name = FILE:{folder}/ccache
[realms]
EXAMPLE.TEST = {{
  kdc = 127.0.0.1:8888
}}
"""

KDC_CONF = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:8888
kdc_tcp_listen = 127.0.0.1:8888
[realms]
EXAMPLE.TEST = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
}}
"""


class SaslCase(InteropCase):
    """A Postfix of ours, and another one that wants a login."""

    async def begin_with_server(self, settings: Mapping[str, str], password: str = PASSWORD, **ours: str) -> None:
        """Start both.

        Args:
            settings: of the server's main.cf.
            password: ours.
            ours: our own settings, beside those that log in.
        """
        self.name_server({"dest.example": {"MX": [f"10 {HOST}"]}, HOST: {"A": [SERVER]}})
        await self.begin(
            {
                "smtp_dns_support_level": "enabled",
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sasl_password_maps": f"texthash:{self.password_file(password)}",
                **ours,
            },
            routes={},
            services="proxywrite unix - - n - 1 proxymap\n",
        )
        self.server_postfix = Postfix(self.directory / "mx", reactor)
        self.server_postfix.directory.mkdir()
        self.server_postfix.create(
            {
                "myhostname": HOST,
                "virtual_mailbox_domains": "dest.example, sender.example",
                "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_local_domain": HOST,
                "smtpd_sasl_security_options": "",
                **settings,
            }
        )
        (self.server_postfix.etc / "sasl").symlink_to(self.directory / "sasl")
        self.server_postfix.write("master.cf", MASTER_CF.replace("127.0.0.1:10025", f"{SERVER}:25"))
        self.addCleanup(self._keep_server_story)
        self.addCleanup(self.server_postfix.stop)
        await self.server_postfix.start()

    def _keep_server_story(self) -> None:
        self._story += self.server_postfix.log()

    def password_file(self, password: str) -> Path:
        """A table of passwords that our agent may read."""
        path = self.directory / "passwords"
        path.write_text(f"{HOST} {USER}:{password}\n", "utf-8")
        path.chmod(0o644)
        return path

    async def change(self, **settings: str) -> None:
        """Change our main.cf, and wait until it counts: our service looks once a second."""
        self.postfix.configure(settings)
        await self.postfix.reload()
        await self.postfix.pause(1.1)

    async def send(self) -> str:
        """Send a message; the line that tells what became of it."""
        await self.postfix.submit(SENDER, ["bob@dest.example"], message())
        await self.postfix.settle()
        return str(self.postfix.log("to=<bob@dest.example>", "status=")[-1])

    def server_tls(self) -> dict[str, str]:
        """Settings of a server with TLS."""
        folder = self.directory / "certificates"
        folder.mkdir()
        folder.chmod(0o755)
        chain = shared_pki()["valid"].write(folder, "valid").both
        for path in folder.iterdir():
            path.chmod(0o644)
        return {"smtpd_tls_security_level": "encrypt", "smtpd_tls_chain_files": str(chain)}

    async def inside_tls(self, settings: Mapping[str, str]) -> None:
        """Log in by SCRAM inside TLS, where we say that the login could be bound to it, and the server has not offered that."""
        await self.begin_with_server(
            {**settings, **self.server_tls()},
            smtp_tls_security_level="encrypt",
            smtp_sasl_mechanism_filter="scram-sha-256, scram-sha-1",
        )
        self.assertIn("status=sent", await self.send())
        self.assertTrue(self.logins()[-1].startswith("SCRAM-SHA-256, "), self.logins())

    def logins(self) -> list[str]:
        """The mechanism and the name of each login that the server saw."""
        return [line.partition("sasl_method=")[2] for line in self.server_postfix.log("sasl_method=")]

    async def all_mechanisms(self) -> None:
        """Log in by each mechanism, then with a wrong password by one of each kind."""
        for name in MECHANISMS:
            await self.change(smtp_sasl_mechanism_filter=name)
            self.assertIn("dsn=2.0.0, status=sent", await self.send(), name)
            method, _, name_there = self.logins()[-1].partition(", sasl_username=")
            # With DIGEST-MD5 the name has a realm.
            self.assertEqual((method, name_there.partition("@")[0]), (name, USER))
        self.password_file(PASSWORD + "x")
        for name in ("PLAIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"):
            await self.change(smtp_sasl_mechanism_filter=name)
            self.assertRegex(
                await self.send(), r"status=deferred \(SASL authentication failed; server .* said: 535 5\.7\.8", name
            )
        told = "\n".join([*self.postfix.log(), self.agent.printed])
        self.assertNotIn(PASSWORD[:4], told)


class CyrusCase(SaslCase):
    """A Postfix with Cyrus SASL."""

    if not SaslCase.skip and not SASLPASSWD:
        skip = "needs saslpasswd2 (Debian package sasl2-bin)"

    def cyrus(self, mechanisms: str) -> dict[str, str]:
        """Make the database and the configuration; returns the settings of the server."""
        folder = self.directory / "sasl"
        folder.mkdir()
        database = folder / "sasldb"
        assert SASLPASSWD is not None
        subprocess.run(
            [SASLPASSWD, "-c", "-p", "-u", HOST, "-f", str(database), USER], input=PASSWORD.encode(), check=True
        )
        owner = pwd.getpwnam("postfix")
        os.chown(database, owner.pw_uid, owner.pw_gid)
        (folder / "smtpd.conf").write_text(CYRUS.format(database=database, mechanisms=mechanisms))
        # Debian's Postfix looks for it in the folder sasl of its configuration directory, others where main.cf says.
        return {"smtpd_sasl_type": "cyrus", "cyrus_sasl_config_path": str(folder)}


class CyrusTests(CyrusCase):
    """Postfix with Cyrus SASL, which has passwords in a database of its own."""

    async def test_mechanisms(self) -> None:
        """Every mechanism that Debian's Cyrus SASL has, with a right password and with a wrong one."""
        await self.begin_with_server(self.cyrus(" ".join(MECHANISMS)))
        await self.all_mechanisms()

    async def test_inside_tls(self) -> None:
        """SCRAM inside TLS, without channel binding."""
        await self.inside_tls(self.cyrus(" ".join(MECHANISMS)))

    async def test_choice(self) -> None:
        """Of all that it has, the best is used, as smtp(8) would; and the usual options forbid passwords in the clear."""
        await self.begin_with_server(
            self.cyrus("LOGIN PLAIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 NTLM ANONYMOUS")
        )
        self.assertIn("status=sent", await self.send())
        self.assertEqual(self.logins()[-1], f"SCRAM-SHA-256, sasl_username={USER}@{HOST}")
        await self.change(smtp_sasl_mechanism_filter="!scram-sha-256, !scram-sha-1, static:all")
        self.assertIn("status=sent", await self.send())
        self.assertEqual(self.logins()[-1], f"DIGEST-MD5, sasl_username={USER}@{HOST}")
        await self.change(
            smtp_sasl_mechanism_filter="plain login", smtp_sasl_security_options="noplaintext, noanonymous"
        )
        self.assertIn("no mechanism available", await self.send())

    async def test_anonymous(self) -> None:
        """ANONYMOUS, where both sides permit it."""
        trusting = {"smtpd_relay_restrictions": "permit_auth_destination, reject"}
        await self.begin_with_server(self.cyrus("ANONYMOUS") | trusting)
        self.assertIn("status=sent", await self.send())
        self.assertEqual(self.logins()[-1], f"ANONYMOUS, sasl_username=anonymous@{HOST}")

    async def test_remembered_refusals(self) -> None:
        """A refusal is written through proxymap(8), and holds until the password changes."""
        needs_own_service()
        await self.begin_with_server(
            self.cyrus("PLAIN"),
            password="wrong",
            smtp_sasl_auth_cache_name="proxy:btree:${data_directory}/refusals",
        )
        self.assertIn("SASL authentication failed; server", await self.send())
        self.assertIn("SASL [CACHED] authentication failed; server mx.dest.example said: 535 5.7.8", await self.send())
        self.assertEqual(len(self.server_postfix.log("SASL PLAIN authentication failed")), 1)
        self.assertTrue((self.postfix.directory / "data" / "refusals.db").exists())
        self.password_file(PASSWORD)
        await self.change()
        self.assertIn("status=sent", await self.send())


class DovecotTests(SaslCase):
    """Postfix with Dovecot's authentication."""

    if not SaslCase.skip and not DOVECOT:
        skip = "needs Dovecot (Debian package dovecot-core)"

    async def dovecot(self) -> dict[str, str]:
        """Start Dovecot's authentication; returns the settings of the server."""
        folder = self.directory / "dovecot"
        (folder / "state").mkdir(parents=True)
        (folder / "users").write_text(f"{USER}:{{PLAIN.B64}}{base64.b64encode(PASSWORD.encode()).decode()}\n")
        configuration = folder / "dovecot.conf"
        configuration.write_text(DOVECOT_AUTH.format(folder=folder, host=HOST))
        assert DOVECOT is not None
        process = subprocess.Popen(
            [DOVECOT, "-F", "-c", str(configuration)], stdin=subprocess.DEVNULL, start_new_session=True
        )

        async def stop() -> None:
            self._story += (
                (folder / "log").read_text("utf-8", "replace").splitlines() if (folder / "log").exists() else []
            )
            process.terminate()
            await self.postfix.wait_for(lambda: process.poll() is not None, "Dovecot does not end")
            kill_group(process.pid)

        self.addCleanup(stop)
        await self.postfix.wait_for((folder / "auth").exists, "Dovecot does not start")
        return {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": str(folder / "auth")}

    async def test_mechanisms(self) -> None:
        """Every mechanism that it can check a password for, with a right one and with a wrong one."""
        await self.begin_with_server(await self.dovecot())
        await self.all_mechanisms()

    async def test_inside_tls(self) -> None:
        """SCRAM inside TLS, without channel binding."""
        await self.inside_tls(await self.dovecot())


class GssapiTests(CyrusCase):
    """Postfix with Cyrus SASL, and a Kerberos realm."""

    if not CyrusCase.skip and not (KDC and KERBEROS_PLUGIN.exists() and importlib.util.find_spec("gssapi")):
        skip = (
            "needs python-gssapi, and Debian's krb5-kdc, krb5-admin-server, krb5-user and libsasl2-modules-gssapi-mit"
        )

    def realm(self) -> None:
        """Start a realm with one user, who has a ticket, and one server."""
        folder = self.directory / "kerberos"
        folder.mkdir()
        namespace.show(Path("/etc/krb5.conf"), KERBEROS.format(folder=folder))
        self.addCleanup(subprocess.run, ["umount", "/etc/krb5.conf"], check=True)
        environment = {"PATH": f"/usr/sbin:{os.defpath}", "KRB5_KDC_PROFILE": str(folder / "kdc.conf")}
        (folder / "kdc.conf").write_text(KDC_CONF.format(folder=folder))

        def run(*command: str, stdin: str = "") -> None:
            subprocess.run(command, env=environment, input=stdin, text=True, check=True, capture_output=True)

        run("kdb5_util", "create", "-s", "-P", "master")
        for command in (
            f"addprinc -pw {GSSAPI_PASSWORD} {USER}",
            f"addprinc -randkey smtp/{HOST}",
            f"ktadd -k {folder}/keytab smtp/{HOST}",
        ):
            run("kadmin.local", "-q", command)
        assert KDC is not None
        process = subprocess.Popen([KDC, "-n"], env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

        def stop() -> None:
            kill_group(process.pid)
            process.wait()

        self.addCleanup(stop)
        self.ticket = lambda: run("kinit", USER, stdin=f"{GSSAPI_PASSWORD}\n")

    async def test_ticket(self) -> None:
        """Without a ticket the mail waits; with one, it goes out without any password."""
        needs_own_service()
        self.realm()
        await self.begin_with_server(self.cyrus("GSSAPI PLAIN"))
        self.assertIn("generic failure", await self.send())
        self.assertEqual(len(self.postfix.log("warning: SASL authentication failure: GSSAPI: ")), 1)
        self.ticket()
        owner = pwd.getpwnam("postfix")
        for name in ("ccache", "keytab"):
            os.chown(self.directory / "kerberos" / name, owner.pw_uid, owner.pw_gid)
        self.assertIn("status=sent", await self.send())
        self.assertEqual(self.logins()[-1], f"GSSAPI, sasl_username={USER}@{HOST}")
