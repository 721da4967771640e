"""``smtpdeliver send``: deliver one message from stdin now, and tell what became of each recipient.

Flow: the message goes through the same engine as those of the service.
Sources: sendmail(1) for the option -f.
"""

import argparse
import sys
import time
from functools import partial
from typing import Any

from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.cli.name_servers import name_server
from twisted_mta.cli.outcome import TerminalReporter
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.ipc.installed import postfix_version
from twisted_mta.model.address import domain_of
from twisted_mta.model.events import Emit, Event, RecipientLogged
from twisted_mta.model.request import DeliveryRequest, MessageStats, Recipient
from twisted_mta.model.result import FinalStatus
from twisted_mta.oauth.provider import TokenProvider
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import start_again_if_needed

EX_USAGE, EX_CONFIG = 64, 78


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser("send", help="deliver one message from stdin now", description=__doc__)
    own.add_argument("-f", "--sender", default="", help="envelope sender; default: the null sender")
    own.add_argument("--nexthop", default="", help="where to deliver; default: the domain of each recipient")
    own.add_argument("--protocol", choices=("smtp", "lmtp"), default="smtp")
    own.add_argument("-o", dest="overrides", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    own.add_argument("--nameserver", action="append", default=[], metavar="ADDRESS[:PORT]", help="ask this name server")
    own.add_argument("-v", "--verbose", action="store_true", help="show the log lines as well")
    own.add_argument("--json", action="store_true", help="one JSON object a recipient")
    own.add_argument("recipients", nargs="+", metavar="RECIPIENT")
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Deliver stdin.

    Returns:
        0: all were taken; 69: somebody was refused; 75: somebody should be tried again; 64 or 78: wrong options or settings.
    """
    try:
        settings = load_settings(
            arguments.config_directory,
            protocol=arguments.protocol,
            overrides=[parse_override(text) for text in arguments.overrides],
        )
        servers = [name_server(text) for text in arguments.nameserver]
    except ConfigError as error:
        print(f"smtpdeliver: {error}", file=sys.stderr)
        return EX_CONFIG
    except ValueError as error:
        print(f"smtpdeliver: --nameserver: {error}", file=sys.stderr)
        return EX_USAGE
    if not arguments.nexthop and (bad := [name for name in arguments.recipients if not domain_of(name)]):
        print(f'smtpdeliver: recipient "{bad[0]}" has no domain, and no --nexthop is given', file=sys.stderr)
        return EX_USAGE
    # Before stdin is read: it is still there after another start.
    start_again_if_needed(OpensslConfiguration.from_settings(settings))
    content = BytesContent(sys.stdin.buffer.read())
    reporter = TerminalReporter(print, arguments.json)
    emit = _log_to_stderr if arguments.verbose else _ignore

    async def job(reactor: Any) -> int:
        for nexthop, recipients in _by_nexthop(arguments.recipients, arguments.nexthop).items():
            request = make_request(arguments.sender, recipients, nexthop, content)
            await send(reactor, settings, request, content, reporter, emit, servers)
        return reporter.exit_status

    return run_in_reactor(job)


async def send(
    reactor: Any,
    settings: Settings,
    request: DeliveryRequest,
    content: BytesContent,
    reporter: TerminalReporter,
    emit: Emit,
    servers: list[tuple[str, int]],
) -> FinalStatus:
    """Deliver one request through the engine.

    Args:
        reactor: runs.
        settings: of the protocol.
        request: whom and where to.
        content: the message.
        reporter: takes the results.
        emit: takes the events.
        servers: name servers to ask; empty: those of resolv.conf.
    """
    tables = open_tables(settings, reactor, emit, version=partial(postfix_version, settings))
    tokens = TokenProvider.from_settings(settings, reactor, emit)
    agent = build_agent(settings, tables, reactor, build_resolver(reactor, emit, servers), emit, tokens=tokens)
    return await agent.deliver(request, content, reporter)


def make_request(sender: str, recipients: list[str], nexthop: str, content: BytesContent) -> DeliveryRequest:
    """A delivery request for a message that is in no queue."""
    now = int(time.time() * 1_000_000)
    return DeliveryRequest(
        queue_id="NOQUEUE",
        nexthop=nexthop,
        sender=sender,
        recipients=tuple(Recipient(address, original=address) for address in recipients),
        stats=MessageStats(now, now, now),
        size=len(content),
        encoding="7bit" if content.is_7bit else "8bit",
    )


def _by_nexthop(recipients: list[str], nexthop: str) -> dict[str, list[str]]:
    """Recipients by where they go; each one once."""
    groups: dict[str, list[str]] = {}
    for address in dict.fromkeys(recipients):
        groups.setdefault(nexthop or domain_of(address), []).append(address)
    return groups


def _ignore(event: Event) -> None:
    """Say nothing: the results say enough."""


def _log_to_stderr(event: Event) -> None:
    if not isinstance(event, RecipientLogged):
        severity, text = line_of(event, LogStyle())
        print(f"{severity.value}: {text}" if severity.value else text, file=sys.stderr)
