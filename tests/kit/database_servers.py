"""Private database servers, for tests that ask real ones: PostgreSQL, MariaDB, memcached, slapd.

Each lives in a directory of its own, listens on loopback, and ends with `stop`.

Flow: tests/interop/test_tables.py starts them, once a test class.
Sources: initdb(1), postgres(1), mariadb-install-db(1), mariadbd(8), memcached(1), slapd(8), slapd.conf(5).
"""

import glob
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from tests.kit.pki import Files, shared_pki
from tests.kit.pki import write as write_pem

_PATH = f"/usr/sbin:/usr/local/sbin:{os.defpath}"
_SECONDS = 60.0


def program(name: str, *directories: str) -> str:
    """The path of a program, also where only root looks for it; empty if it is not there."""
    for directory in directories:
        for found in sorted(glob.glob(os.path.join(directory, name)), reverse=True):
            return found
    return shutil.which(name, path=_PATH) or ""


class PrivateServer:
    """A server that a test starts.

    Args:
        directory: an empty one, which the server's user can get to.
    """

    needs: ClassVar[str]
    """The program, and behind a blank the Debian package."""

    user: ClassVar[str]
    port: ClassVar[int]

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def why_not(cls) -> str:
        """Why it cannot be started here; empty: it can."""
        name, package = cls.needs.split()
        return "" if cls.program(name) else f"needs {name} (Debian package {package})"

    @classmethod
    def program(cls, name: str) -> str:
        """The path of one of its programs."""
        return program(name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.directory.mkdir()
        shutil.chown(self.directory, self.user)
        self.prepare()
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(), user=self.user, extra_groups=[], stdout=output, stderr=output, start_new_session=True
            )
        ends = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"{self.needs}: {(self.directory / 'output').read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        self.fill()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def authority(self) -> str:
        """The file of the authority that has signed its certificate; there is ``other.pem`` beside it, of another one."""
        return str(self.directory / "authority.pem")

    def make_identity(self) -> Files:
        """Make a certificate for 127.0.0.1, which clients may verify by `authority`; gives the server's files."""
        pki = shared_pki()
        write_pem(self.directory, "authority.pem", pki.root.certificate_pem)
        write_pem(self.directory, "other.pem", pki.other_root.certificate_pem)
        files = pki.issue(names=("127.0.0.1",)).write(self.directory, "server")
        shutil.chown(files.key, self.user)
        Path(files.key).chmod(0o600)
        return files

    def prepare(self) -> None:
        """Make what it needs."""

    def fill(self) -> None:
        """Put in what the tests ask for, once it runs."""

    def command(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    def run(self, *command: str, as_root: bool = False, text: str = "") -> str:
        """Run a program to its end."""
        user = None if as_root else self.user
        done = subprocess.run(
            command, user=user, input=text, capture_output=True, text=True, check=False, cwd=self.directory
        )
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def _answers(self) -> bool:
        with socket.socket() as connection:
            connection.settimeout(1)
            return connection.connect_ex(("127.0.0.1", self.port)) == 0


class Postgres(PrivateServer):
    """PostgreSQL with TLS, and with everybody trusted; `sql` fills the database ``postgres``.

    The user ``tls`` must use TLS; ``cert`` needs a certificate, too.
    """

    needs = "postgres postgresql"
    user = "postgres"
    port = 25432
    sql = ""

    @classmethod
    def program(cls, name: str) -> str:
        """The path of one of its programs."""
        return program(name, "/usr/lib/postgresql/*/bin")

    def prepare(self) -> None:
        """Make the database."""
        data = str(self.directory / "data")
        self.run(self.program("initdb"), "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self._identity = self.make_identity()
        access = Path(data, "pg_hba.conf")
        others = "".join(line for line in access.read_text().splitlines(True) if not line.startswith("#"))
        access.write_text(
            "hostssl all tls all trust\nhostssl all cert all trust clientcert=verify-ca\n"
            f"host all tls,cert all reject\n{others}"
        )

    def command(self) -> list[str]:
        """How it is started."""
        options = {
            "listen_addresses": "127.0.0.1,127.0.0.2",
            "ssl": "on",
            "ssl_ca_file": self.authority,
            "ssl_cert_file": self._identity.chain,
            "ssl_key_file": self._identity.key,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.directory / "data"), *settings]

    def fill(self) -> None:
        """Run the SQL; it takes connections before it takes commands."""
        ends = time.monotonic() + _SECONDS
        while True:
            try:
                self.run(
                    self.program("psql"),
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-v",
                    "ON_ERROR_STOP=1",
                    text=f"create role tls login; create role cert login; {self.sql}",
                )
            except AssertionError as error:
                if "starting up" not in str(error) or time.monotonic() > ends:
                    raise
                time.sleep(0.05)
            else:
                return


class Mariadb(PrivateServer):
    """MariaDB with TLS; `sql` is run in the database ``x``.

    There is a user ``u`` whose password is ``p``; the same for ``tls``, who must use TLS, and ``cert``, who needs a certificate.
    """

    needs = "mariadbd mariadb-server"
    user = "mysql"
    port = 23306
    sql = ""

    @property
    def socket(self) -> Path:
        """Where it listens, too."""
        return self.directory / "socket"

    def prepare(self) -> None:
        """Make the database."""
        self.run(
            self.program("mariadb-install-db"),
            "--no-defaults",
            f"--user={self.user}",
            f"--datadir={self.directory / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            as_root=True,
        )
        self._identity = self.make_identity()

    def command(self) -> list[str]:
        """How it is started."""
        return [
            self.program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=0.0.0.0",
            "--max-allowed-packet=256M",
            f"--pid-file={self.directory / 'pid'}",
            f"--ssl-ca={self.authority}",
            f"--ssl-cert={self._identity.chain}",
            f"--ssl-key={self._identity.key}",
        ]

    def fill(self) -> None:
        """Run the SQL."""
        users = "".join(
            f"create user {user}@'{host}' identified by 'p' {demand}; grant all on *.* to {user}@'{host}';"
            for user, demand in (("u", ""), ("tls", "require ssl"), ("cert", "require x509"))
            for host in ("%", "localhost")
        )
        script = f"create database x; use x; {users}\n{self.sql}"
        client = self.program("mariadb") or self.program("mysql")
        self.run(
            client,
            "--no-defaults",
            "--default-character-set=utf8mb4",
            "-S",
            str(self.socket),
            "-uroot",
            as_root=True,
            text=script,
        )

    def stop(self) -> None:
        """End it; SIGINT would only make it stop listening."""
        if self._process is not None:
            self._process.terminate()
        super().stop()


class Memcached(PrivateServer):
    """memcached."""

    needs = "memcached memcached"
    user = "nobody"
    port = 21211

    def command(self) -> list[str]:
        """How it is started."""
        return [self.program("memcached"), "-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]


class Slapd(PrivateServer):
    """OpenLDAP's server, for ``dc=example``; `ldif` fills it.

    It knows TLS, and SASL for entries ``uid=...,ou=people,dc=example``; only such users see an ``employeeNumber``.
    """

    needs = "slapd slapd"
    user = "openldap"
    port = 23389
    tls_port = 23636
    ldif = ""

    def prepare(self) -> None:
        """Make the directory, and put everything in before it runs."""
        database = self.directory / "data"
        database.mkdir()
        shutil.chown(database, self.user)
        identity = self.make_identity()
        schemas = "".join(
            f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson", "nis")
        )
        (self.directory / "slapd.conf").write_text(
            f"{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {self.directory}/pid\nallow bind_v2\n"
            f"TLSCACertificateFile {self.authority}\nTLSCertificateFile {identity.chain}\n"
            f"TLSCertificateKeyFile {identity.key}\nTLSVerifyClient try\n"
            "password-hash {CLEARTEXT}\nsasl-secprops none\nsasl-host localhost\nauthz-policy any\n"
            "authz-regexp uid=([^,]*),cn=.* uid=$1,ou=people,dc=example\n"
            "authz-regexp cn=([^,]*) uid=$1,ou=people,dc=example\n"
            "access to attrs=userPassword by anonymous auth by * none\n"
            "access to attrs=employeeNumber by users read by * none\naccess to * by * read\n"
            f'database mdb\nmaxsize 10485760\nsuffix "dc=example"\nrootdn "cn=admin,dc=example"\nrootpw secret\n'
            f"directory {database}\n"
        )
        entries = self.directory / "entries.ldif"
        entries.write_text(self.ldif)
        self.run(self.program("slapadd"), "-f", str(self.directory / "slapd.conf"), "-l", str(entries))

    def command(self) -> list[str]:
        """How it is started."""
        local = f"ldapi://{str(self.directory / 'socket').replace('/', '%2F')}"
        configuration = str(self.directory / "slapd.conf")
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port} {local}"
        return [self.program("slapd"), "-d", "0", "-f", configuration, "-h", urls]
