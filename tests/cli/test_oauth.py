"""``smtpdeliver oauth``: what it does with accounts and tokens, what it shows, and how it ends."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import Captured, captured, run_command
from tests.kit.private_reactor import PrivateReactor
from tests.kit.token_server import Answer, TokenServer
from twisted_mta.cli import oauth, parser
from twisted_mta.cli.oauth_view import duration
from twisted_mta.oauth import grants
from twisted_mta.oauth.accounts import FOLDER, Accounts
from twisted_mta.oauth.store import TokenStore, store_of
from twisted_mta.sasl.oauth_tokens import Tokens

USER = "alice@dest.example"
NOW = 1_700_000_000.0

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
"""For a process that has to find the package under test."""

CLIENT = 'client_id = "client"\nclient_secret = "hush"\ntoken_endpoint = "https://t.example/token"\n'
ACCOUNTS = {
    "device": f'grant = "device_code"\n{CLIENT}device_authorization_endpoint = "https://t.example/device"\n',
    "given": f'grant = "refresh_token"\n{CLIENT}revocation_endpoint = "https://t.example/revoke"\n',
    "service": f'grant = "client_credentials"\n{CLIENT}',
}


class OauthCase(SynchronousTestCase):
    """A configuration, and a token server without sockets."""

    def setUp(self) -> None:
        """Make them."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / FOLDER).mkdir(parents=True)
        (self.directory / "data").mkdir()
        for name, text in ACCOUNTS.items():
            self.write(name, text)
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.server = TokenServer(self.clock.seconds)
        self.store = TokenStore(self.directory / "data" / FOLDER)
        self.typed: list[str] = []

    def write(self, name: str, text: str) -> None:
        """Write an account file."""
        path = self.directory / FOLDER / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o600)

    async def lines(self) -> AsyncIterator[str]:
        """What a person types."""
        for line in self.typed:
            yield line

    def begin(self, *words: str) -> Deferred[int]:
        """Begin an action."""
        arguments: Namespace = parser().parse_args(["oauth", *words])
        place = oauth.Place(
            Accounts(self.directory),
            store_of(str(self.directory / "data")),
            grants.TokenServer(self.server.post, self.clock.seconds),
            self.clock,
            self.lines,
        )
        return Deferred.fromCoroutine(oauth.attempt(arguments.job, place, arguments))

    def act(self, *words: str, wait: float = 0.0) -> Captured[int]:
        """Do what an action says; perhaps some time goes by."""

        def call() -> int:
            action = self.begin(*words)
            if wait:
                self.server.consent(USER)
                self.clock.advance(wait)
            return self.successResultOf(action)

        shown = captured(call)
        for secret in ("hush", *self.server.given(USER)):
            self.assertNotIn(secret, shown.octets.decode() + "\n".join(shown.complaints))
        return shown

    def consented(self, user: str = USER) -> str:
        """Log a user in; returns the refresh token."""
        fields = {"client_id": "client", "redirect_uri": "http://x", "state": "s"}
        url = self.server.browse(fields, user)
        code = re.findall("code=([^&]*)", url)[0]
        token = str(self.server._first(self.server._codes.pop(code))["refresh_token"])
        self.store.save("given", user, Tokens("old", NOW - 7200, NOW - 3600, token))
        return token


class LoginTests(OauthCase):
    """``login``."""

    def test_device(self) -> None:
        """The person is told where to go; then the tokens are kept."""
        shown = self.act("login", "device", USER, wait=5.0)
        self.assertEqual((shown.result, shown.complaints), (0, []))
        self.assertRegex(shown.lines[0], r"^Open https?://\S+/go in any browser, and enter the code ABCD-0001$")
        self.assertEqual(
            shown.lines[-1], f"device: access token for {USER}, good for 1 hour, refreshed when it is needed"
        )
        tokens = self.store.load("device", USER)
        assert tokens is not None
        self.assertEqual(tokens.refresh_token, self.server.refresh_token(USER))

    def test_device_as_json(self) -> None:
        """For programs the same as objects."""
        shown = self.act("login", "--json", "device", USER, wait=5.0)
        first, last = map(json.loads, shown.lines)
        self.assertEqual((first["user_code"], first["expires_in"]), ("ABCD-0001", 600))
        self.assertEqual((last["account"], last["user"], last["has_refresh_token"]), ("device", USER, True))

    def test_given_token(self) -> None:
        """A refresh token that somebody has already is taken from stdin, once it has proved to be one."""
        token = self.consented()
        self.store.forget("given", USER)
        self.typed = ["", f" {token} "]
        shown = self.act("login", "given", USER)
        self.assertEqual((shown.result, shown.complaints), (0, []))
        self.assertIsNotNone(self.store.load("given", USER))

    def test_given_nonsense(self) -> None:
        """What is no refresh token is not kept."""
        self.typed = ["nonsense"]
        shown = self.act("login", "given", USER)
        self.assertEqual(shown.result, os.EX_NOPERM)
        self.assertEqual(shown.complaints, ["the token server says invalid_grant (refresh token *** is no good)"])
        self.typed = []
        shown = self.act("login", "given", USER)
        self.assertEqual((shown.result, shown.complaints), (os.EX_NOINPUT, ["stdin: there is no refresh token"]))
        self.assertIsNone(self.store.load("given", USER))

    def test_no_refresh_token(self) -> None:
        """A consent that does not last is told at once."""
        self.server.answers["/token"] = [Answer(200, b'{"access_token": "a", "expires_in": 600}')]
        shown = self.act("login", "device", USER, wait=5.0)
        self.assertEqual(shown.result, 0)
        self.assertRegex(shown.complaints[0], "^warning: the server gave no refresh token")
        self.assertEqual(shown.lines[-1], f"device: access token for {USER}, good for 10 minutes, no refresh token")

    def test_nobody_needs_to(self) -> None:
        """An application needs no consent."""
        shown = self.act("login", "service", USER)
        self.assertEqual(shown.result, os.EX_USAGE)
        self.assertEqual(len(shown.complaints), 1)

    def test_bad_folder(self) -> None:
        """What is wrong with the folder is told before anybody consents."""
        self.store.folder.mkdir()
        self.store.folder.chmod(0o777)
        shown = self.act("login", "device", USER)
        self.assertEqual(shown.result, os.EX_IOERR)
        self.assertIn("others may write there", shown.complaints[0])
        self.assertEqual(self.server.requests, [])

    def test_waits_for_a_refresh(self) -> None:
        """A service that is just refreshing does not overwrite what a login brings."""
        self.consented()
        lock = self.store.try_lock("device", USER)
        assert lock is not None
        login = self.begin("login", "device", USER)
        self.assertEqual(self.server.requests, [])
        lock.release()
        captured(lambda: self.clock.advance(0.2))
        self.assertEqual(len(self.server.requests), 1)
        login.addErrback(lambda _: None)
        login.cancel()

    def test_refusals(self) -> None:
        """The status says what helps."""
        for answer, result in (
            (Answer(400, b'{"error": "access_denied"}'), os.EX_NOPERM),
            (Answer(401, b'{"error": "invalid_client"}'), os.EX_CONFIG),
        ):
            self.server.answers["/token"] = [answer]
            self.assertEqual(self.act("login", "device", USER, wait=5.0).result, result)
        self.server.answers["/device"] = [Answer(503)]
        self.assertEqual(self.act("login", "device", USER).result, os.EX_TEMPFAIL)
        shown = self.act("login", "nobody", USER)
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertEqual(shown.complaints, [f"{self.directory}/{FOLDER}/nobody.toml: there is no such file"])


class StatusTests(OauthCase):
    """``status``."""

    def test_all(self) -> None:
        """Accounts, and what is known of their users."""
        self.consented()
        self.store.save("device", USER, Tokens("a", NOW, NOW + 3000, "r"))
        self.store.save("device", "bob@dest.example", Tokens("a", NOW, NOW + 600))
        shown = self.act("status")
        self.assertEqual(shown.result, 0)
        self.assertEqual(
            shown.lines,
            [
                "device: device_code, t.example",
                f"    {USER}: access token for 50 minutes, refreshed when it is needed",
                "    bob@dest.example: access token for 10 minutes, no refresh token",
                "given: refresh_token, t.example",
                f"    {USER}: access token expired, refreshed when it is needed",
                "service: client_credentials, t.example",
                "    tokens are asked for when they are needed, and not kept",
            ],
        )

    def test_nobody(self) -> None:
        """An account that nobody has consented for says what to run."""
        self.assertEqual(
            self.act("status", "device").lines[1],
            "    nobody has consented yet; run: smtpdeliver oauth login device USER",
        )

    def test_json(self) -> None:
        """One object an account; nothing secret in it."""
        self.store.save("device", USER, Tokens("a-secret", NOW, NOW + 3000, "r-secret", "mail"))
        shown = self.act("status", "--json", "device")
        (line,) = shown.lines
        self.assertNotIn("secret", line)
        content = json.loads(line)
        self.assertEqual((content["grant"], content["client_id"], content["problem"]), ("device_code", "client", ""))
        self.assertEqual(
            content["users"],
            [
                {
                    "user": USER,
                    "file": str(self.store.path("device", USER)),
                    "problem": "",
                    "expires_at": "2023-11-14T23:03:20+00:00",
                    "is_usable": True,
                    "has_refresh_token": True,
                    "scope": "mail",
                }
            ],
        )

    def test_problems(self) -> None:
        """What is wrong is shown in its place, and makes the status."""
        self.store.save("device", USER, Tokens("a", NOW, NOW + 3000))
        self.store.path("device", USER).chmod(0o644)
        shown = self.act("status", "device")
        self.assertEqual(shown.result, os.EX_IOERR)
        self.assertIn("it is not for its owner alone (mode 0644)", shown.lines[1])
        self.write("broken", "x")
        shown = self.act("status")
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertRegex(shown.lines[0], "^broken: .*broken.toml: this is no TOML")
        shown = self.act("status", "--json", "nobody")
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertIn("there is no such file", json.loads(shown.lines[0])["problem"])

    def test_folder_of_tokens(self) -> None:
        """A folder of tokens that is none is told once, with the account."""
        self.store.folder.write_text("")
        shown = self.act("status", "device")
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertEqual(shown.lines[1], f"    {self.store.folder}: Not a directory")

    def test_no_accounts(self) -> None:
        """Where there are none, the folder is named."""
        for path in (self.directory / FOLDER).iterdir():
            path.unlink()
        shown = self.act("status")
        self.assertEqual((shown.result, shown.complaints), (0, [f"there are no accounts in {self.directory}/{FOLDER}"]))

    def test_odd_times(self) -> None:
        """Times that no calendar has do no harm."""
        self.store.save("device", USER, Tokens("a", 0.0, 1e300, "r"))
        self.assertIsNone(json.loads(self.act("status", "--json", "device").lines[0])["users"][0]["expires_at"])
        self.assertEqual(self.act("status", "device").result, 0)

    def test_durations(self) -> None:
        """Spans in words."""
        for seconds, words in (
            (-5, "less than a second"),
            (0.5, "less than a second"),
            (1, "1 second"),
            (119, "1 minute"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
        ):
            self.assertEqual(duration(seconds), words)


class RefreshTests(OauthCase):
    """``refresh``."""

    def test_user(self) -> None:
        """New tokens take the place of the old ones, whether these are over or not."""
        former = self.consented()
        shown = self.act("refresh", "given", USER)
        self.assertEqual(
            (shown.result, shown.lines),
            (0, [f"given: access token for {USER}, good for 1 hour, refreshed when it is needed"]),
        )
        tokens = self.store.load("given", USER)
        assert tokens is not None
        self.assertNotEqual(tokens.refresh_token, former)
        self.assertEqual(self.act("refresh", "given", USER).result, 0)

    def test_all_users(self) -> None:
        """Without a name all users have their turn; the worst outcome counts."""
        self.consented()
        self.consented("bob@dest.example")
        self.server.withdraw("bob@dest.example")
        shown = self.act("refresh", "--json", "given")
        self.assertEqual(shown.result, os.EX_NOPERM)
        self.assertEqual([json.loads(line)["user"] for line in shown.lines], [USER])
        self.assertEqual(
            shown.complaints,
            [
                "bob@dest.example: the token server says invalid_grant (refresh token *** is no good);"
                " run: smtpdeliver oauth login given bob@dest.example"
            ],
        )

    def test_application(self) -> None:
        """Of an application it is shown whether it would get a token."""
        shown = self.act("refresh", "service")
        self.assertEqual(
            (shown.result, shown.lines), (0, ["service: access token, good for 1 hour, which is not kept"])
        )
        self.server.clients.clear()
        self.assertEqual(self.act("refresh", "service").result, os.EX_CONFIG)

    def test_nobody(self) -> None:
        """Where nobody has consented there is nothing to refresh."""
        self.assertEqual(self.act("refresh", "given").result, os.EX_NOPERM)
        shown = self.act("refresh", "given", USER)
        self.assertEqual(
            (shown.result, shown.complaints),
            (os.EX_NOPERM, [f"{USER}: there is no refresh token; run: smtpdeliver oauth login given {USER}"]),
        )

    def test_server_is_away(self) -> None:
        """What may pass is no reason to log in anew."""
        self.consented()
        self.server.answers["/token"] = [Answer(503)]
        shown = self.act("refresh", "given", USER)
        self.assertEqual(
            (shown.result, shown.complaints), (os.EX_TEMPFAIL, [f"{USER}: the token server replied with HTTP 503"])
        )


class ForgetTests(OauthCase):
    """``forget``."""

    def test_revoked(self) -> None:
        """The server is told, and the file is gone."""
        self.consented()
        shown = self.act("forget", "given", USER)
        self.assertEqual((shown.result, shown.lines), (0, [f"given: tokens of {USER} removed, and its server told"]))
        self.assertIsNone(self.store.load("given", USER))
        self.assertRaises(IndexError, self.server.refresh_token, USER)

    def test_server_is_away(self) -> None:
        """A file stays until the server has been told, unless it need not be."""
        self.consented()
        self.server.answers["/revoke"] = [Answer(503), Answer(503)]
        self.assertEqual(self.act("forget", "given", USER).result, os.EX_TEMPFAIL)
        self.assertIsNotNone(self.store.load("given", USER))
        shown = self.act("forget", "--json", "--local", "given", USER)
        self.assertEqual(shown.result, 0)
        self.assertEqual(json.loads(shown.lines[0]), {"account": "given", "user": USER, "revoked": False})
        self.assertIsNone(self.store.load("given", USER))

    def test_nothing_to_revoke_with(self) -> None:
        """A server without an endpoint for it is not told."""
        self.store.save("device", USER, Tokens("a", NOW, NOW + 600))
        self.assertEqual(self.act("forget", "device", USER).lines, [f"device: tokens of {USER} removed"])
        self.assertEqual(self.server.requests, [])

    def test_damaged_file(self) -> None:
        """A file that nobody can read can be removed without telling anybody."""
        self.consented()
        self.store.path("given", USER).write_text("{")
        self.assertEqual(self.act("forget", "given", USER).result, os.EX_IOERR)
        self.assertEqual(self.act("forget", "--local", "given", USER).result, 0)

    def test_nothing(self) -> None:
        """What is not there cannot be forgotten."""
        self.assertEqual(self.act("forget", "given", USER).result, os.EX_NOINPUT)


class CommandTests(OauthCase):
    """The command as a whole."""

    def run_process(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run ``smtpdeliver`` as a process of its own, as it may become another user."""
        command = [sys.executable, "-m", "twisted_mta.cli", *words]
        return subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False, **options
        )

    def place(self) -> tuple[Path, int]:
        """The same configuration where mail_owner can find it; and who that is, where it is anybody else than we."""
        place = Path(tempfile.mkdtemp(prefix="oauth"))
        self.addCleanup(shutil.rmtree, place)
        place.chmod(0o755)
        shutil.copytree(self.directory, place, dirs_exist_ok=True)
        owner = pwd.getpwnam("postfix").pw_uid if os.geteuid() == 0 and _has_postfix() else os.geteuid()
        os.chown(place / "data", owner, -1)
        (place / "main.cf").write_text(f"data_directory = {place}/data\n")
        return place, owner

    def test_configuration(self) -> None:
        """The directory of main.cf has the accounts, its data_directory the tokens; root becomes mail_owner to look at them."""
        place, owner = self.place()
        command = ("--config-directory", str(place), "oauth")
        done = self.run_process(*command, "login", "given", USER, input="\n")
        self.assertEqual(
            (done.returncode, done.stderr.splitlines()[-1]), (66, "smtpdeliver: stdin: there is no refresh token")
        )
        self.assertEqual((place / "data" / FOLDER).stat().st_uid, owner)
        done = self.run_process(*command, "status", "--json", "given")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["account"], "given")

    def test_browser_elsewhere(self) -> None:
        """A login with a browser on another machine: the URL where it ends is typed, and tokens are kept."""
        reactor = PrivateReactor()
        self.addCleanup(reactor.close)
        server = TokenServer(reactor.seconds)
        server.listen(reactor)
        self.addCleanup(server.stop)
        self.write(
            "browser",
            'grant = "authorization_code"\nclient_id = "client"\nclient_secret = "hush"\n'
            f'token_endpoint = "{server.url("/token")}"\nauthorization_endpoint = "https://t.example/consent"\n',
        )
        place, owner = self.place()
        command = [
            sys.executable,
            "-m",
            "twisted_mta.cli",
            "--config-directory",
            str(place),
            "oauth",
            "login",
            "browser",
        ]
        process = subprocess.Popen(
            [*command, USER],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.addCleanup(process.kill)
        assert process.stdin is not None and process.stdout is not None
        self.addCleanup(process.stdout.close)
        os.set_blocking(process.stdout.fileno(), False)
        said = b""

        def has_said(words: bytes) -> bool:
            nonlocal said
            said += process.stdout.read() or b"" if process.stdout else b""
            return words in said

        reactor.until(lambda: has_said(b"paste the URL"), 30)
        url = said.decode().splitlines()[1]
        answer = server.browse(dict(parse_qsl(urlsplit(url).query)), USER)
        process.stdin.write(f"{answer}\n".encode())
        process.stdin.close()
        reactor.until(lambda: process.poll() is not None, 30)
        self.assertTrue(has_said(f"browser: access token for {USER}, good for 1 hour, refreshed".encode()), said)
        self.assertEqual(process.returncode, 0)
        path = TokenStore(place / "data" / FOLDER).path("browser", USER)
        self.assertEqual((path.stat().st_uid, path.stat().st_mode & 0o777), (owner, 0o600))

    def test_no_configuration(self) -> None:
        """A directory without main.cf is told."""
        shown = run_command("--config-directory", self.directory / "nowhere", "oauth", "status")
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertIn("main.cf", shown.complaints[0])

    def test_grammar(self) -> None:
        """An action is needed, with what it works on."""
        for words in ([], ["login"], ["login", "given"], ["forget", "given"], ["refresh"]):
            self.assertRaises(SystemExit, captured, lambda words=words: parser().parse_args(["oauth", *words]))


def _has_postfix() -> bool:
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return False
    return True
