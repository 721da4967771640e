"""The ``smtpdeliver`` command against Postfix's own: postconf(1) shows the same settings, ``postmap -q`` gives the same answers.

TWISTED_MTA_SEED repeats a run, TWISTED_MTA_LONG makes it longer.
Sources: postconf(1), postmap(1).
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

import twisted_mta
from tests.kit.chance import LONG, SEED
from tests.kit.table_server import SocketmapServer, TcpTableServer, netstring
from twisted_mta.cli.unknown_names import KNOWN_NAMES, ROW_NAMES

ROUNDS = 3 * LONG
"""Random files of settings."""

DEVIATIONS = {
    "mail_version": "version",
    "mail_release_date": "version",
    "smtp_tls_dane_insecure_mx_policy": "version: up to 3.8 its default depends on the level",
    "tls_high_cipherlist": "version: 3.8 took out what OpenSSL has no longer",
    "tls_medium_cipherlist": "version: the same",
    "tls_null_cipherlist": "version: the same",
    "tls_low_cipherlist": "version: empty since 3.8, as nothing reads it",
    "tls_export_cipherlist": "version: the same",
    "daemon_directory": "build: Debian's place",
    "shlib_directory": "build: Debian's plug-ins",
    "config_directory": "run time: none where no main.cf is read",
    "process_id": "run time",
    "process_name": "run time: that of the agent, not of the command",
    "service_name": "run time: that of the agent, where the command has none",
    "mynetworks": "run time: computed from network interfaces, and of no effect here",
}
"""The defaults that differ from those of Debian's Postfix, and why."""

WITHOUT_POSTFIX = (
    None if shutil.which("postconf") and shutil.which("postmap") else "needs Postfix (Debian package postfix)"
)


def run(*words: str | Path, lines: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a command."""
    package = str(Path(twisted_mta.__file__).parents[1])
    environment = {key: value for key, value in os.environ.items() if key != "MAIL_CONFIG"} | {"PYTHONPATH": package}
    return subprocess.run(words, input=lines, capture_output=True, check=False, cwd=cwd, env=environment)


def smtpdeliver(config_directory: Path, *words: str) -> list[str | Path]:
    """The words that run our command."""
    return [sys.executable, "-m", "twisted_mta.cli", "--config-directory", config_directory, *words]


def settings_of(shown: subprocess.CompletedProcess[bytes]) -> dict[str, bytes]:
    """Each name, and the whole line that shows it."""
    lines = shown.stdout.split(b"\n")[:-1]
    return {os.fsdecode(line.split(b" =")[0]): line for line in lines}


class PostconfCase(SynchronousTestCase):
    """A configuration directory."""

    skip = WITHOUT_POSTFIX

    def setUp(self) -> None:
        """Make it."""
        self.directory = Path(mkdtemp(prefix="postconf"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "master.cf").write_text("")

    def both(self, *options: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """What our command and postconf(1) show of what both know."""
        ours = run(*smtpdeliver(self.directory, "config", *options))
        theirs = run("postconf", "-c", self.directory, *options)
        self.assertEqual(theirs.returncode, 0, theirs.stderr)
        # postconf(1) does not mind values that no agent can use, such as an empty smtp_helo_name.
        self.assertIn(ours.returncode, (os.EX_OK, os.EX_CONFIG), ours.stderr)
        shown, expected = settings_of(ours), settings_of(theirs)
        names = shown.keys() & expected.keys()
        return {name: shown[name] for name in names}, {name: expected[name] for name in names}


class DefaultsTests(PostconfCase):
    """Defaults."""

    def check(self, *options: str) -> None:
        """Compare all but what is known to deviate."""
        ours, theirs = self.both(*options)
        self.assertGreater(len(ours), 360)
        differing = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}
        self.assertEqual({name: lines for name, lines in differing.items() if name not in DEVIATIONS}, {})

    def test_defaults(self) -> None:
        """Each default is that of Postfix, in its form."""
        self.check("-d")

    def test_expanded_defaults(self) -> None:
        """Each default expands to the same."""
        self.check("-d", "-x")

    def test_completeness(self) -> None:
        """Each name of Postfix's that begins like one of ours is known, so that none is taken for a mistake."""
        theirs = settings_of(run("postconf", "-d"))
        ours = settings_of(run(*smtpdeliver(self.directory, "config", "-d")))
        agents = {name for name in theirs if name.startswith(("smtp_", "lmtp_"))}
        self.assertGreater(len(agents), 200)
        self.assertEqual(agents - KNOWN_NAMES, set())
        self.assertEqual({name for name in agents if name in ROW_NAMES} - ours.keys(), set())

    def test_order(self) -> None:
        """Names come in the same order."""
        theirs = list(settings_of(run("postconf", "-d")))
        ours = list(settings_of(run(*smtpdeliver(self.directory, "config", "-d"))))
        self.assertEqual([name for name in ours if name in set(theirs)], [name for name in theirs if name in set(ours)])


class ValueTests(PostconfCase):
    """What main.cf says."""

    names = (
        "smtp_helo_name",
        "lmtp_lhlo_name",
        "relayhost",
        "smtp_generic_maps",
        "smtp_tls_policy_maps",
        "mydestination",
        "smtp_fallback_relay",
        "own_one",
        "own_two",
        "own_three",
    )
    """Names of a random main.cf; the later may refer to the earlier."""

    def random_main_cf(self, chance: random.Random) -> bytes:
        """Settings in odd forms.

        They refer to what every agent knows: of a name that only the other personality loads, postconf(1) shows the default,
        where an agent, and so our command, has nothing.
        """
        lines = ["compatibility_level = 3.6", "myhostname = client.example"]
        earlier = ["myhostname", "ipc_timeout", "undefined"]
        for name in self.names:
            if not chance.randrange(3):
                continue
            parts = [
                chance.choice(
                    ["a", "  b", "\tc", "é", "\udcff", ",", "#", "=", "\n  d", "\n# no\n\te", "$$", "f\x01"]
                    + [form % chance.choice(earlier) for form in ("$%s", "${%s}", "$(%s)", "${%s?{x}:{y}}", "${%s:z}")]
                )
                for _ in range(chance.randint(0, 6))
            ]
            earlier.append(name)
            lines.append(f"{name}{chance.choice(['=', ' = ', chr(9) + '='])}{''.join(parts)}")
        return os.fsencode("\n".join(lines) + "\n")

    def test_any_main_cf(self) -> None:
        """Values are the same, raw and expanded, whatever their form."""
        chance = random.Random(SEED)
        for _ in range(ROUNDS):
            text = self.random_main_cf(chance)
            (self.directory / "main.cf").write_bytes(text)
            for options in (["-n"], ["-n", "-x"]):
                ours, theirs = self.both(*options)
                self.assertEqual(ours, theirs, f"{text!r} (TWISTED_MTA_SEED={SEED})")
                self.assertIn("myhostname", ours)

    def test_which_are_set(self) -> None:
        """With -n, the same names are shown: what is set, even to its default, and variables that are used."""
        (self.directory / "main.cf").write_text(
            "compatibility_level = 3.6\nsmtp_rset_timeout = 20s\nown_one = $own_two\nown_two = 1\nown_three = 2\n"
            "smtp_helo_name = $own_one\nsmtp_hello_name = 3\n"
        )
        ours, theirs = (
            settings_of(run(*words, "-n"))
            for words in (smtpdeliver(self.directory, "config"), ["postconf", "-c", self.directory])
        )
        self.assertEqual(ours.keys(), theirs.keys() - {"config_directory"})

    def test_names(self) -> None:
        """Names are shown in the order given; one that is not known is complained of, and the others are shown."""
        (self.directory / "main.cf").write_text("compatibility_level = 3.6\nown = a\nrelayhost = $own\n")
        names = ["relayhost", "nothing", "smtp_helo_name", "own", "relayhost"]
        ours = run(*smtpdeliver(self.directory, "config", *names))
        theirs = run("postconf", "-c", self.directory, *names)
        self.assertEqual(ours.stdout, theirs.stdout)
        self.assertIn(b"nothing: ", ours.stderr)
        self.assertIn(b"nothing: unknown parameter", theirs.stderr)


class LookupTests(TestCase):
    """Questions to one table."""

    skip = WITHOUT_POSTFIX
    timeout = 60

    source = "a 1\nb two words\nküche é\n"
    keys = ("a", "z", "B", "", "KÜCHE", "a b", "10.1.2.3", "\udcff", "a")

    def setUp(self) -> None:
        """Make a directory with a configuration and a table."""
        self.directory = Path(mkdtemp(prefix="lookup"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "main.cf").write_text("compatibility_level = 3.6\nmeta_directory = /etc/postfix\n")
        (self.directory / "table").write_text(self.source)

    async def run_in_thread(self, *words: str | Path, lines: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command here, while servers of this process answer it."""
        return await deferToThread(run, *words, lines=lines, cwd=self.directory)

    async def compare(self, spec: str, *keys: str, lines: Sequence[str] = ()) -> tuple[bytes, int]:
        """Ask both; gives what they show, and their status."""
        text = b"".join(os.fsencode(line) + b"\n" for line in lines)
        [key] = keys or ["-"]
        ours = await self.run_in_thread(*smtpdeliver(self.directory, "lookup", spec, key), lines=text)
        theirs = await self.run_in_thread("postmap", "-c", self.directory, "-q", key, spec, lines=text)
        told = f"{spec}: {os.fsdecode(ours.stderr)} {os.fsdecode(theirs.stderr)}"
        self.assertEqual((ours.stdout, ours.returncode), (theirs.stdout, theirs.returncode), told)
        self.assertEqual(bool(ours.stderr), bool(theirs.stderr), told)
        return ours.stdout, ours.returncode

    async def test_files(self) -> None:
        """Tables that postmap(1) has made, and others; a relative name begins in the current directory."""
        for kind in ("hash", "btree", "lmdb", "cdb", "texthash"):
            made = await self.run_in_thread("postmap", "-c", self.directory, f"{kind}:table")
            if kind != "texthash" and made.returncode:
                continue  # a package of Postfix is not there
            shown, status = await self.compare(f"{kind}:table", lines=self.keys)
            self.assertEqual((shown.count(b"\n"), status), (4, 0), kind)

    async def test_without_files(self) -> None:
        """Tables that are all in their names."""
        for spec in (
            "static:x",
            "inline:{ a=1, {b = two words} }",
            "pipemap:{inline:{a=b}, inline:{b=c}}",
            "unionmap:{static:a, inline:{a=b}}",
            "regexp:{ {/^(.)$/ <$1>} }",
            "cidr:{ {10.0.0.0/8 ten} }",
            "environ:x",
        ):
            await self.compare(spec, lines=self.keys)

    async def test_one_key(self) -> None:
        """One key shows the value alone; status 1 without a word says that there is none."""
        self.assertEqual(await self.compare("texthash:table", "B"), (b"two words\n", 0))
        self.assertEqual(await self.compare("texthash:table", "z"), (b"", 1))
        self.assertEqual(await self.compare("inline:{a=}", "a"), (b"\n", 0))

    async def test_no_keys(self) -> None:
        """Where no line has a key that is found, or there is no line, the status says so."""
        self.assertEqual(await self.compare("static:x"), (b"", 1))
        self.assertEqual(await self.compare("texthash:table", lines=["x", "y"]), (b"", 1))

    async def test_failures(self) -> None:
        """What cannot be opened or asked is told, with status 1."""
        for spec in (
            "texthash:nowhere",
            "hash:nowhere",
            "bogus:x",
            "texthash:",
            "fail:x",
            "pipemap:{static:a, fail:x}",
        ):
            self.assertEqual(await self.compare(spec, "a"), (b"", 1))

    async def test_other_settings(self) -> None:
        """What is wrong with settings that no table needs is told, and keeps nobody from asking."""
        with (self.directory / "main.cf").open("a") as file:
            file.write("smtp_helo_timeout = x\n")
        asked = await self.run_in_thread(*smtpdeliver(self.directory, "lookup", "texthash:table", "a", "z", "b"))
        self.assertEqual((asked.stdout, asked.returncode), (b"a\t1\nb\ttwo words\n", 0))
        self.assertIn(b"main.cf, line 3: parameter smtp_helo_timeout: bad time value or unit: x\n", asked.stderr)

    async def serve(self, server: Any) -> int:
        """Start a server; gives its port."""
        port: Any = await server.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        return int(port.getHost().port)

    async def test_network(self) -> None:
        """Tables that are elsewhere: tcp: and socketmap:, found, not found, and failing."""
        tcp = await self.serve(TcpTableServer({b"get a": b"200 one\n", b"get bad": b"400 later\n"}))
        socketmap = await self.serve(
            SocketmapServer({b"m a": netstring(b"OK one"), b"m bad": netstring(b"TEMP later")})
        )
        for spec in (f"tcp:127.0.0.1:{tcp}", f"socketmap:inet:127.0.0.1:{socketmap}:m"):
            self.assertEqual(await self.compare(spec, lines=["a", "z", "a"]), (b"a\tone\na\tone\n", 0))
            self.assertEqual(await self.compare(spec, "z"), (b"", 1))
            self.assertEqual(await self.compare(spec, "bad"), (b"", 1))
