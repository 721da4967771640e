"""``smtpdeliver oauth``: consent once, look at tokens, refresh them, give them up.

Started as root it becomes mail_owner before it touches a token, as the service does: they share the files.

Flow: accounts are those of the configuration; oauth/ logs in and keeps tokens; cli/oauth_view.py has the forms of what is shown.
Sources: RFC 6749; RFC 8628; RFC 7009; sysexits.h.
"""

import argparse
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted_mta.cli.console import USUAL_DIRECTORY, complain, find_config_directory, show
from twisted_mta.cli.input_lines import InputError, lines_of
from twisted_mta.cli.oauth_view import AccountView, as_text, code_lines, login_result, url_lines, view_of
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings, salvage_settings
from twisted_mta.model.text import printable
from twisted_mta.oauth.accounts import Accounts
from twisted_mta.oauth.grants import TokenServer
from twisted_mta.oauth.login import log_in_by_browser, log_in_by_device
from twisted_mta.oauth.refreshing import Keeper
from twisted_mta.oauth.store import TokenStore, store_of
from twisted_mta.oauth.web import WebClient
from twisted_mta.postfix.privileges import PrivilegeError, become, find_mail_owner
from twisted_mta.sasl.oauth import GrantError, Remedy
from twisted_mta.sasl.oauth_account import Account, Grant
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens

STDIN = 0

_STATUS_OF = {Remedy.WAIT: os.EX_TEMPFAIL, Remedy.LOGIN: os.EX_NOPERM, Remedy.CONFIGURE: os.EX_CONFIG}


@dataclass(frozen=True, slots=True)
class Place:
    """What the sub-commands work with.

    Attributes:
        accounts: those of the configuration.
        store_of: gives the store of an account.
        server: asks token servers.
        reactor: runs.
        lines: what a person types.
    """

    accounts: Accounts
    store_of: Callable[[Account], TokenStore]
    server: TokenServer
    reactor: Any
    lines: Callable[[], AsyncIterator[str]]

    def keeper(self, account: Account, user: str) -> Keeper:
        """The token file of a user. A command may wait for the disk."""
        return Keeper(account, user, self.store_of(account), self.reactor)


Job = Callable[[Place, argparse.Namespace], Coroutine[Any, Any, int]]
"""What a sub-command does; gives the exit status; raises ConfigError, GrantError and TokenFileError."""


# ---- grammar ----


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser(
        "oauth",
        help="consent to OAuth2 logins, look at their tokens, refresh them, give them up",
        description=__doc__.partition("\n\nFlow:")[0],
        epilog=USUAL_DIRECTORY,
    )
    actions = own.add_subparsers(title="actions", metavar="ACTION", required=True)
    jobs: tuple[tuple[str, str, Job, str], ...] = (
        ("login", "consent once in a browser, and keep the tokens", login, "user"),
        ("status", "show accounts, and how long their tokens last", status, "any account"),
        ("refresh", "get new access tokens now", refresh, "any user"),
        ("forget", "give tokens up, and remove their file", forget, "user"),
    )
    for name, text, job, operands in jobs:
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        many = "?" if operands == "any account" else None
        action.add_argument("account", nargs=many, metavar="ACCOUNT", help="name of the account's file, without .toml")
        if operands != "any account":
            many = "?" if operands == "any user" else None
            action.add_argument("user", nargs=many, metavar="USER", help="as in the password table")
        if name == "forget":
            action.add_argument("--local", action="store_true", help="remove the file only, and do not tell the server")
        action.add_argument("--json", action="store_true", help="show JSON objects, one a line")
        action.set_defaults(run=run, job=job)


def run(arguments: argparse.Namespace) -> int:
    """Do what an action says.

    Returns:
        0; 64: wrong words; 66: there is nothing to work with; 74: a token file cannot be used; 75: trying again may help; 77: a
        person has to consent; 78: something is wrong with the configuration, or with the account at its provider.
    """
    directory = find_config_directory(arguments.config_directory)
    if directory is None:
        complain("oauth: say where the configuration is, with --config-directory")
        return os.EX_USAGE
    try:
        settings, _ = salvage_settings(directory)
        accounts = Accounts(directory)
        _become_keeper(settings)
    except ConfigError as error:
        complain(error.describe())
        return os.EX_CONFIG
    except PrivilegeError as error:
        complain(str(error))
        return os.EX_OSERR

    async def job(reactor: Any) -> int:
        server = TokenServer(WebClient(reactor).post, reactor.seconds)
        place = Place(accounts, store_of(settings.data_directory), server, reactor, lambda: lines_of(reactor, STDIN))
        return await attempt(arguments.job, place, arguments)

    return run_in_reactor(job)


def _become_keeper(settings: Settings) -> None:
    """Be whom the token files belong to; where there is no such user, there is no service of Postfix's either.

    Raises:
        ConfigError: mail_owner is there, but cannot be used.
        PrivilegeError: becoming it failed.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = find_mail_owner(settings)
    except ConfigError as error:
        if "unknown user name" not in error.text:
            raise
        complain(f"warning: {error.describe()}: token files will belong to root")
        return
    become(owner, "/")


async def attempt(job: Job, place: Place, arguments: argparse.Namespace) -> int:
    """Do a job, and say what is wrong if it cannot be done.

    Args:
        job: what to do.
        place: with what.
        arguments: the command line.

    Returns:
        The exit status.
    """
    try:
        return await job(place, arguments)
    except ConfigError as error:
        complain(error.describe())
        return os.EX_CONFIG
    except GrantError as error:
        complain(error.problem)
        return _STATUS_OF[error.remedy]
    except TokenFileError as error:
        complain(str(error))
        return os.EX_IOERR
    except InputError as error:
        complain(f"stdin: {error}")
        return os.EX_NOINPUT


# ---- actions ----


async def login(place: Place, arguments: argparse.Namespace) -> int:
    """Have a person consent, and keep the tokens."""
    account, user = place.accounts.find(arguments.account), arguments.user
    if not account.grant.needs_consent:
        complain(f"account {account.name} has tokens of its own, by {account.grant.value}: nobody needs to consent")
        return os.EX_USAGE
    keeper = place.keeper(account, user)
    (await keeper.lock()).release()  # whatever is wrong with the folder is better known before somebody consents
    tokens = await _consented(place, account, user, as_json=arguments.json)
    lock = await keeper.lock()
    try:
        await keeper.save(tokens)
    finally:
        lock.release()
    show(login_result(account, user, tokens, place.server.seconds(), as_json=arguments.json))
    if not tokens.refresh_token:
        complain(
            "warning: the server gave no refresh token: this consent ends with the access token; see the account's scope"
        )
    return os.EX_OK


async def _consented(place: Place, account: Account, user: str, *, as_json: bool) -> Tokens:
    """The tokens that come of a person's consent."""
    if account.grant is Grant.DEVICE_CODE:
        return await log_in_by_device(
            account, place.server, place.reactor, lambda code: _tell(code_lines(code, as_json=as_json))
        )
    if account.grant is Grant.AUTHORIZATION_CODE:
        return await log_in_by_browser(
            account,
            user,
            place.server,
            place.reactor,
            lambda url: _tell(url_lines(url, as_json=as_json)),
            complain,
            place.lines(),
        )
    if os.isatty(STDIN):
        complain("type the refresh token; to keep it off the screen, give it as a file, behind <")
    async for line in place.lines():
        if token := line.strip():
            # Asking with it shows whether it is one, before it takes the place of another.
            return await place.server.refresh(account, Tokens(refresh_token=token))
    raise InputError("there is no refresh token")


def _tell(lines: list[str]) -> None:
    show(lines)


async def status(place: Place, arguments: argparse.Namespace) -> int:
    """Show accounts, and how long their tokens last."""
    names = [arguments.account] if arguments.account else place.accounts.names
    views = [_view(place, name) for name in names]
    now = place.server.seconds()
    for view in views:
        show([json.dumps(view.as_object(now))] if arguments.json else as_text(view, now))
    if not views:
        complain(f"there are no accounts in {place.accounts.folder}")
    if any(view.problem for view in views):
        return os.EX_CONFIG
    return os.EX_IOERR if any(user.problem for view in views for user in view.users) else os.EX_OK


def _view(place: Place, name: str) -> AccountView:
    try:
        account = place.accounts.find(name)
    except ConfigError as error:
        return AccountView(name, str(place.accounts.path_of(name)), problem=error.describe())
    return view_of(account, str(place.accounts.path_of(name)), place.store_of(account))


async def refresh(place: Place, arguments: argparse.Namespace) -> int:
    """Get new access tokens now, for one user or all; the worst outcome is the exit status."""
    account = place.accounts.find(arguments.account)
    if not account.grant.needs_consent:
        tokens = await place.server.client_credentials(account)
        show(login_result(account, "", tokens, place.server.seconds(), as_json=arguments.json))
        return os.EX_OK
    users = [arguments.user] if arguments.user else place.store_of(account).users(account.name)
    if not users:
        raise GrantError(f"nobody has consented yet: smtpdeliver oauth login {account.name} USER", Remedy.LOGIN)
    worst = os.EX_OK
    for user in users:

        async def one(place: Place, arguments: argparse.Namespace, user: str = user) -> int:
            tokens = await _refreshed(place.keeper(account, user), place.server)
            show(login_result(account, user, tokens, place.server.seconds(), as_json=arguments.json))
            return os.EX_OK

        worst = max(worst, await attempt(one, place, arguments))
    return worst


async def _refreshed(keeper: Keeper, server: TokenServer) -> Tokens:
    lock = await keeper.lock()
    try:
        former = keeper.load()
        if former is None or not former.refresh_token:
            raise GrantError("there is no refresh token", Remedy.LOGIN)
        return await keeper.refresh(server, former)
    except GrantError as error:
        advice = f"; run: smtpdeliver oauth login {keeper.account.name} {keeper.user}"
        problem = f"{keeper.user}: {error.problem}{advice if error.remedy is Remedy.LOGIN else ''}"
        raise GrantError(problem, error.remedy, code=error.code) from error
    finally:
        lock.release()


async def forget(place: Place, arguments: argparse.Namespace) -> int:
    """Give tokens up, and remove their file; where the server does not answer, the file stays, so that it can be asked again."""
    account, user = place.accounts.find(arguments.account), arguments.user
    keeper, store = place.keeper(account, user), place.store_of(account)
    lock = await keeper.lock()
    try:
        if not arguments.local and (tokens := keeper.load()) is not None:
            # The server gives up the access tokens of a refresh token together with it.
            await place.server.revoke(account, tokens.refresh_token or tokens.access_token)
        was_there = store.forget(account.name, user)
    finally:
        lock.release()
    if not was_there:
        complain(f"there are no tokens of {user} for account {account.name}")
        return os.EX_NOINPUT
    told = "" if arguments.local or not account.revocation_endpoint else ", and its server told"
    result = {"account": account.name, "user": user, "revoked": bool(told)}
    show([json.dumps(result) if arguments.json else printable(f"{account.name}: tokens of {user} removed{told}")])
    return os.EX_OK
