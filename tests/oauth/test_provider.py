"""What provides access tokens: when it asks, how often, who waits, and what is told when there are none."""

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.token_server import Answer, TokenServer
from twisted_mta.interfaces import ITokenProvider, TokenError
from twisted_mta.model.events import Event
from twisted_mta.model.sasl_events import TokenObtained, TokenRefused, TokenUnavailable
from twisted_mta.oauth import grants
from twisted_mta.oauth.accounts import FOLDER, Accounts
from twisted_mta.oauth.provider import (
    FIRST_PAUSE_SECONDS,
    HOPELESS_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    REPLACEMENT_SECONDS,
    TokenProvider,
)
from twisted_mta.oauth.refreshing import LONGEST_LOCK_SECONDS
from twisted_mta.oauth.store import TokenStore, store_of
from twisted_mta.sasl.oauth_tokens import Tokens

USER = "alice@dest.example"
NOW = 1_700_000_000.0

ACCOUNTS = {
    "service": (
        'grant = "client_credentials"\nclient_id = "client"\nclient_secret = "hush"\n'
        'token_endpoint = "https://t.example/token"\n'
    ),
    "person": (
        'grant = "refresh_token"\nclient_id = "client"\nclient_secret = "hush"\n'
        'token_endpoint = "https://t.example/token"\n'
    ),
}


class ProviderCase(SynchronousTestCase):
    """A provider with two accounts, and a token server without sockets."""

    def setUp(self) -> None:
        """Make them; nobody has consented yet."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / FOLDER).mkdir(parents=True)
        for name, text in ACCOUNTS.items():
            path = self.directory / FOLDER / f"{name}.toml"
            path.write_text(text)
            path.chmod(0o600)
        self.data = self.directory / "data"
        self.data.mkdir()
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.server = TokenServer(self.clock.seconds)
        self.store = TokenStore(self.data / FOLDER)
        self.events: list[Event] = []
        self.provider = self.another_provider()

    def another_provider(self, most_users: int = 100) -> TokenProvider:
        """One more, as another process would have it."""
        return TokenProvider(
            Accounts(self.directory),
            store_of(str(self.data)),
            grants.TokenServer(self.server.post, self.clock.seconds),
            self.clock,
            self.events.append,
            most_users=most_users,
        )

    def consent(self, user: str = USER) -> None:
        """A person has consented long ago: there is a refresh token, whose access token is over."""
        pending = self.server.browse({"client_id": "client", "redirect_uri": "http://x", "state": "s"}, user)
        code = pending.partition("code=")[2].partition("&")[0]
        grant = self.server._first(self.server._codes.pop(code))
        self.store.save("person", user, Tokens("old", NOW - 7200, NOW - 3600, grant["refresh_token"]))

    def token(self, account: str = "person", user: str = USER) -> str:
        """The token that there is at once."""
        return self.successResultOf(self.provider.access_token(user, account))

    def problem(self, account: str = "person", user: str = USER) -> str:
        """Why there is none."""
        failure = self.failureResultOf(self.provider.access_token(user, account), TokenError)
        sent = [asked.fields.get("refresh_token", "hush") for asked in self.server.requests]
        for secret in ("hush", *self.server.given(USER), *sent):
            self.assertNotIn(secret, failure.value.problem)
        self.assertTrue(failure.value.problem.isprintable())
        return str(failure.value.problem)

    def hold(self, *answers: Answer) -> None:
        """Let the server's next answers be these; by default one waits."""
        self.server.answers["/token"] = list(answers or [Answer(wait=True)])

    def lose_room(self) -> None:
        """Let the tokens that are about to come find no place on the disk."""
        for room in self.store.folder.glob("*.new"):
            room.unlink()

    def complaints(self) -> list[str]:
        """What the log says is wrong."""
        return [event.problem for event in self.events if isinstance(event, TokenUnavailable)]


class InterfaceTests(ProviderCase):
    """The contract."""

    def test_interface(self) -> None:
        """It is an ITokenProvider."""
        verifyObject(ITokenProvider, self.provider)


class ClientCredentialsTests(ProviderCase):
    """Tokens of an application."""

    def test_one_request_an_hour(self) -> None:
        """One token serves all users and all logins until it is due; nothing is written."""
        first = self.token("service")
        for user in ("", USER, "bob"):
            self.assertEqual(self.token("service", user), first)
        self.assertEqual(len(self.server.requests), 1)
        self.assertFalse(self.store.folder.exists())
        self.assertEqual(self.events, [TokenObtained("service", 3600)])

    def test_early_refresh(self) -> None:
        """In the last minutes mail goes on with the old token while the new one is fetched."""
        first = self.token("service")
        self.clock.advance(3300)
        self.hold()
        for _ in range(3):
            self.assertEqual(self.token("service"), first)
        self.assertEqual(len(self.server.requests), 2)
        self.server.go_on()
        self.assertNotEqual(self.token("service"), first)
        self.assertEqual(len(self.server.requests), 2)

    def test_early_refresh_fails(self) -> None:
        """A failure then is told, and tried again; the old token serves to its end."""
        first = self.token("service")
        self.clock.advance(3300)
        self.hold(Answer(503), Answer(503))
        self.assertEqual(self.token("service"), first)
        self.assertEqual(self.complaints(), ["the token server replied with HTTP 503"])
        self.clock.advance(FIRST_PAUSE_SECONDS)
        self.assertEqual(self.token("service"), first)
        self.assertEqual(len(self.complaints()), 2)
        self.clock.advance(2 * FIRST_PAUSE_SECONDS)
        # The rest of the answers are true again; a request that succeeds at once gives its token at once.
        self.assertNotEqual(self.token("service"), first)

    def test_expired(self) -> None:
        """A token that is over is never given."""
        first = self.token("service")
        self.clock.advance(3599)
        self.hold()
        waiting = self.provider.access_token(USER, "service")
        self.assertNoResult(waiting)
        self.server.go_on()
        self.assertNotEqual(self.successResultOf(waiting), first)

    def test_tokens_that_are_dead_already(self) -> None:
        """A server whose tokens have no life is not asked for each mail."""
        self.server.lifetime_seconds = 0
        for _ in range(5):
            self.assertEqual(
                self.problem("service"),
                "no access token of OAuth2 account service: the token server gives tokens that have expired already",
            )
        self.assertEqual(len(self.server.requests), 1)

    def test_wrong_secret(self) -> None:
        """A client that the server does not want says where to look; the secret is not shown, though the server repeats it."""
        self.server.clients["client"] = "another"
        text = self.problem("service")
        self.assertIn("the token server says invalid_client (unknown client ", text)
        self.assertTrue(text.endswith(f"; see {self.directory}/{FOLDER}/service.toml"), text)
        self.assertNotIn("smtpdeliver oauth login", text)
        self.clock.advance(HOPELESS_PAUSE_SECONDS - 1)
        self.problem("service")
        self.assertEqual(len(self.server.requests), 1)


class SingleFlightTests(ProviderCase):
    """Many logins, one request."""

    def test_a_hundred_deliveries(self) -> None:
        """All wait for the same request, and get the same token."""
        self.consent()
        self.hold()
        waiting = [self.provider.access_token(USER, "person") for _ in range(100)]
        self.server.go_on()
        self.assertEqual({self.successResultOf(each) for each in waiting}, {self.server.given(USER)[-1]})
        self.assertEqual(len(self.server.requests), 1)

    def test_all_are_told(self) -> None:
        """Nor does a failure make more than one."""
        self.consent()
        self.hold(Answer(500, b"oops", wait=True))
        waiting = [self.provider.access_token(USER, "person") for _ in range(100)]
        self.server.go_on()
        errors = [self.failureResultOf(each, TokenError).value for each in waiting]
        self.assertEqual(len({id(error) for error in errors}), 100)
        self.assertEqual((len(self.server.requests), len(self.complaints())), (1, 1))

    def test_cancelling(self) -> None:
        """Whoever goes away does not disturb the others, nor the request: its refresh token is used up already."""
        self.consent()
        self.hold()
        one, other, last = (self.provider.access_token(USER, "person") for _ in range(3))
        one.cancel()
        self.failureResultOf(one, CancelledError)
        # One who goes away because of what another one got.
        other.addCallback(lambda _: last.cancel())
        self.server.go_on()
        self.successResultOf(other)
        self.failureResultOf(last, CancelledError)
        self.assertEqual(self.token(), self.server.given(USER)[-1])
        self.assertEqual(len(self.server.requests), 1)

    def test_users_are_apart(self) -> None:
        """Each user has a token; a user's name in another case is the same user."""
        self.consent()
        self.consent("bob@dest.example")
        self.assertNotEqual(self.token(), self.token(user="bob@dest.example"))
        self.assertEqual(self.token(user=USER.upper()), self.token())
        self.assertEqual(len(self.server.requests), 2)

    def test_many_users(self) -> None:
        """Those that nobody waits for are forgotten at some time, and read from their files again."""
        self.consent()
        self.provider = self.another_provider(most_users=5)
        first = self.token()
        for number in range(12):
            self.failureResultOf(self.provider.access_token(f"user{number}", "person"), TokenError)
        self.assertEqual(self.token(), first)


class RotationTests(ProviderCase):
    """Refresh tokens that serve once."""

    def test_stored_before_use(self) -> None:
        """By the time that anybody has the access token, the new refresh token is in the file, readable by its owner alone."""
        self.consent()
        self.hold()
        seen: list[Tokens | None] = []
        waiting = self.provider.access_token(USER, "person")
        waiting.addCallback(lambda token: seen.append(self.store.load("person", USER)))
        self.server.go_on()
        (tokens,) = seen
        assert tokens is not None
        self.assertEqual(tokens.refresh_token, self.server.refresh_token(USER))
        self.assertEqual(tokens.access_token, self.token())

    def test_for_years(self) -> None:
        """Each refresh uses the token of the one before, in this process and the next."""
        self.consent()
        for _ in range(5):
            self.token()
            self.clock.advance(4000)
            self.provider = self.another_provider()
        self.assertEqual(len(self.server.given(USER)), 6)
        self.assertEqual(self.complaints(), [])

    def test_without_rotation(self) -> None:
        """A server that gives none leaves the old one in force."""
        self.consent()
        self.server.rotates = False
        self.token()
        self.clock.advance(4000)
        self.token()
        self.assertEqual(self.complaints(), [])

    def test_no_room(self) -> None:
        """Where new tokens could not be kept, the refresh token is not used up."""
        self.consent()
        saved = self.store.path("person", USER).read_bytes()
        # Nobody writes there any more; this holds for root, too.
        self.store.folder.chmod(0o777)
        self.assertIn("others may write there", self.problem())
        self.assertEqual(self.server.requests, [])
        self.assertEqual(self.store.path("person", USER).read_bytes(), saved)
        self.store.folder.chmod(0o700)
        self.clock.advance(FIRST_PAUSE_SECONDS)
        self.token()

    def test_cannot_be_kept(self) -> None:
        """Tokens that cannot be kept serve as long as they last; before the next request they are kept, or it is not made."""
        self.consent()
        self.hold()
        waiting = self.provider.access_token(USER, "person")
        self.lose_room()
        self.server.go_on()
        first = self.successResultOf(waiting)
        self.assertEqual(self.token(), first)
        self.assertRegex(
            self.complaints()[0], "^new tokens are kept in memory only: .*: cannot be written: No such file"
        )
        self.clock.advance(3590)
        self.store.folder.chmod(0o777)
        self.assertIn("others may write there", self.problem())
        self.assertEqual(len(self.server.requests), 1)
        self.store.folder.chmod(0o700)
        self.clock.advance(FIRST_PAUSE_SECONDS)
        self.assertNotEqual(self.token(), first)
        self.assertEqual(len(self.server.requests), 2)

    def test_login_takes_precedence(self) -> None:
        """Tokens that could not be kept do not overwrite those of a login that came after them."""
        self.consent()
        self.hold()
        waiting = self.provider.access_token(USER, "person")
        self.lose_room()
        self.server.go_on()
        self.successResultOf(waiting)
        self.clock.advance(3590)
        self.store.save("person", USER, Tokens("from-login", NOW + 3590, NOW + 7190, "r1"))
        self.assertEqual(self.token(), "from-login")
        self.assertEqual(self.store.load("person", USER), Tokens("from-login", NOW + 3590, NOW + 7190, "r1"))


class ProcessesTests(ProviderCase):
    """Several processes with one token file."""

    def test_lock(self) -> None:
        """The second process waits for the first, and takes what that has fetched."""
        self.consent()
        other = self.another_provider()
        self.hold()
        one, two = self.provider.access_token(USER, "person"), other.access_token(USER, "person")
        self.clock.pump([0.2] * 5)
        self.assertEqual(len(self.server.requests), 1)
        self.server.go_on()
        token = self.successResultOf(one)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(two), token)
        self.assertEqual(len(self.server.requests), 1)

    def test_lock_that_is_never_given_back(self) -> None:
        """A process that hangs is not waited for without end."""
        self.consent()
        lock = self.store.try_lock("person", USER)
        assert lock is not None
        self.addCleanup(lock.release)
        waiting = self.provider.access_token(USER, "person")
        self.clock.pump([0.2] * int(LONGEST_LOCK_SECONDS / 0.2 + 2))
        error = self.failureResultOf(waiting, TokenError).value
        self.assertIn("another process is refreshing the token, and does not come to an end", error.problem)

    def test_fresh_token_of_another_process(self) -> None:
        """A token that another process has fetched meanwhile is used, without asking."""
        self.consent()
        self.token()
        self.clock.advance(3590)
        other = self.another_provider()
        fetched = self.successResultOf(other.access_token(USER, "person"))
        self.assertEqual(self.token(), fetched)
        self.assertEqual(len(self.server.requests), 2)


class ConsentTests(ProviderCase):
    """People who have not consented, or not any more."""

    LOGIN = "; run: smtpdeliver oauth login person alice@dest.example"

    def test_never(self) -> None:
        """Whoever has not consented yet is told what to run."""
        self.assertEqual(
            self.problem(),
            f"no access token of OAuth2 account person, user {USER}: nobody has consented yet{self.LOGIN}",
        )
        self.assertEqual(self.server.requests, [])

    def test_withdrawn(self) -> None:
        """So is who has taken it back; the server is not asked for each mail, but now and then."""
        self.consent()
        self.server.withdraw(USER)
        for _ in range(10):
            text = self.problem()
            self.assertIn("the token server says invalid_grant (refresh token *** is no good)", text)
            self.assertTrue(text.endswith(self.LOGIN), text)
        self.assertEqual((len(self.server.requests), len(self.complaints())), (1, 1))
        self.clock.advance(HOPELESS_PAUSE_SECONDS)
        self.problem()
        self.assertEqual(len(self.server.requests), 2)

    def test_login_helps_at_once(self) -> None:
        """A new token file is taken up with the next mail, whatever pause was made."""
        self.problem()
        self.consent()
        self.assertEqual(self.token(), self.server.given(USER)[-1])

    def test_login_while_a_token_is_good(self) -> None:
        """A login counts at once, too, where a token is in use that need not be replaced: somebody had a reason for it."""
        self.consent()
        self.token()
        self.store.save("person", USER, Tokens("from-login", NOW, NOW + 3600, "r"))
        self.assertEqual(self.token(), "from-login")

    def test_fresh_login_is_used(self) -> None:
        """A login brings an access token, too, which is used as long as it lasts."""
        self.store.save("person", USER, Tokens("from-login", NOW, NOW + 3600, "r"))
        self.assertEqual(self.token(), "from-login")
        self.assertEqual(self.server.requests, [])

    def test_no_refresh_token(self) -> None:
        """A consent that does not last says so when it is over."""
        self.store.save("person", USER, Tokens("short", NOW, NOW + 600))
        self.assertEqual(self.token(), "short")
        self.clock.advance(600)
        self.assertTrue(self.problem().endswith(f"there is no refresh token{self.LOGIN}"))

    def test_file_that_others_can_read(self) -> None:
        """A token file that is no secret is not used; the file is named."""
        self.consent()
        path = self.store.path("person", USER)
        path.chmod(0o644)
        text = self.problem()
        self.assertIn(f"{path}: it is not for its owner alone (mode 0644)", text)
        path.chmod(0o600)
        self.token()


class AccountTests(ProviderCase):
    """Accounts that cannot be used."""

    def test_unknown(self) -> None:
        """A password table that names no account says which file is missing."""
        self.assertEqual(
            self.problem("home"),
            f"OAuth2 account home cannot be used: {self.directory}/{FOLDER}/home.toml: there is no such file",
        )

    def test_broken(self) -> None:
        """Or what is wrong with it."""
        (self.directory / FOLDER / "person.toml").write_text("grant = 5")
        self.provider = self.another_provider()
        self.assertIn("person.toml: grant is not a text between quotes", self.problem())

    def test_long_user(self) -> None:
        """A user for whom there can be no file."""
        self.assertIn("the name of its user is too long", self.problem(user="x" * 300))


class BackOffTests(ProviderCase):
    """Servers that are not well."""

    def test_pauses(self) -> None:
        """Each failure doubles the pause, up to some minutes; a success ends that."""
        pause = FIRST_PAUSE_SECONDS
        for number in range(1, 10):
            self.hold(Answer(503))
            self.problem("service")
            self.assertEqual(len(self.server.requests), number)
            self.clock.advance(pause - 0.1)
            self.problem("service")
            self.assertEqual(len(self.server.requests), number)
            self.clock.advance(0.1)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.token("service")
        self.clock.advance(4000)
        self.hold(Answer(503))
        self.problem("service")
        self.clock.advance(FIRST_PAUSE_SECONDS)
        self.token("service")

    def test_retry_after(self) -> None:
        """A server may ask for more."""
        self.hold(Answer(429, b"", (("Retry-After", "100"),)))
        self.problem("service")
        self.clock.advance(99)
        self.problem("service")
        self.clock.advance(1)
        self.token("service")

    def test_hostile_replies(self) -> None:
        """Whatever comes in place of a token is a failure that is told on one line."""
        for answer in (
            Answer(200, b"<html>"),
            Answer(200, b"{}"),
            Answer(200, b'{"access_token": "a\\u0001b"}'),
            Answer(400, b'{"error": "\\u001b[2J"}'),
            Answer(302, b"", (("Location", "http://192.0.2.1/"),)),
            Answer(hang_up=True),
        ):
            self.hold(answer)
            self.problem("service")
            self.clock.advance(HOPELESS_PAUSE_SECONDS)
        self.token("service")

    def test_defect(self) -> None:
        """A defect of ours is logged, whoever waits is told, and nothing is left hanging."""

        class Broken:
            """Fails in a way that nobody has foreseen."""

            async def __call__(self, *_: object) -> object:
                """Fail."""
                raise RuntimeError("hush")

        broken: grants.Post = Broken()  # type: ignore[assignment]
        self.provider = TokenProvider(
            Accounts(self.directory),
            store_of(str(self.data)),
            grants.TokenServer(broken, self.clock.seconds),
            self.clock,
            self.events.append,
        )
        self.assertIn("refreshing it ended by a defect", self.problem("service"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class RejectedTests(ProviderCase):
    """Access tokens that mail servers refuse."""

    def test_once(self) -> None:
        """A refused token is replaced at the next login; if that one is refused as well, it is not the token's fault."""
        self.consent()
        first = self.token()
        self.provider.rejected("person", first)
        self.provider.rejected("person", first)
        second = self.token()
        self.assertNotEqual(second, first)
        self.provider.rejected("person", second)
        self.assertEqual(self.token(), second)
        self.assertEqual(len(self.server.requests), 2)
        self.assertEqual(
            [event for event in self.events if isinstance(event, TokenRefused)], [TokenRefused(f"person, user {USER}")]
        )

    def test_again_after_a_while(self) -> None:
        """A token that has served for a while and is refused then is replaced as well, though it was a replacement itself."""
        self.consent()
        self.provider.rejected("person", self.token())
        second = self.token()
        self.clock.advance(REPLACEMENT_SECONDS - 1)
        self.provider.rejected("person", second)
        self.assertEqual(self.token(), second)
        self.clock.advance(1)
        self.provider.rejected("person", second)
        self.assertNotEqual(self.token(), second)

    def test_applications(self) -> None:
        """The same holds for tokens of applications."""
        first = self.token("service")
        self.provider.rejected("service", first)
        second = self.token("service")
        self.assertNotEqual(second, first)
        self.provider.rejected("service", second)
        self.assertEqual(self.token("service"), second)

    def test_refused_token_in_the_file(self) -> None:
        """The refused token is still in the file, and not taken from there again."""
        self.store.save("person", USER, Tokens("bad", NOW, NOW + 3600, "gone"))
        self.assertEqual(self.token(), "bad")
        self.provider.rejected("person", "bad")
        self.assertIn("invalid_grant", self.problem())
        self.assertIn("invalid_grant", self.problem())

    def test_two_processes(self) -> None:
        """Two processes with a user who is not wanted do not make each other refresh without end."""
        self.consent()
        others = [self.provider, self.another_provider()]
        for _ in range(10):
            for provider in others:
                provider.rejected("person", self.successResultOf(provider.access_token(USER, "person")))
        self.assertLessEqual(len(self.server.requests), 3)

    def test_other_tokens(self) -> None:
        """What is not in use, or belongs to another account, changes nothing."""
        self.consent()
        first = self.token()
        self.provider.rejected("person", "other")
        self.provider.rejected("person", "\udcff")
        self.provider.rejected("service", first)
        self.provider.rejected("nobody", first)
        self.assertEqual(self.token(), first)

    def test_while_waiting(self) -> None:
        """A token that is refused while its successor is fetched is not given any more."""
        first = self.token("service")
        self.clock.advance(3300)
        self.hold()
        self.token("service")
        self.provider.rejected("service", first)
        waiting: Deferred[str] = self.provider.access_token(USER, "service")
        self.assertNoResult(waiting)
        self.server.go_on()
        self.assertNotEqual(self.successResultOf(waiting), first)
