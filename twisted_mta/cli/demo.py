"""``smtpdeliver demo``: see mail being delivered, with nothing else installed.

A name server and a mail server are started on loopback, for a domain whose first mail exchanger is down. A message for two
recipients goes through the real engine: look-up by MX, the next host, the dialog, a result for each recipient.

Flow: cli/send.py does the sending.
Sources: RFC 5321 section 5.1 (the order of mail exchangers); twisted.mail.smtp and twisted.names for the servers.
"""

import argparse
import sys
import tempfile
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ServerFactory
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import ESMTP, SMTPBadRcpt, User
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory
from zope.interface import implementer

from twisted_mta.cli.outcome import TerminalReporter
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.cli.send import make_request, send
from twisted_mta.config.settings import load_settings
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.model.events import Event, RecipientLogged
from twisted_mta.model.result import Fate
from twisted_mta.model.text import printable, to_text
from twisted_mta.observe.maillog import LogStyle, line_of

DOMAIN = "demo.example"
SENDER = "sender@client.example"
KNOWN, UNKNOWN = f"alice@{DOMAIN}", f"nobody@{DOMAIN}"
LOOPBACK, DEAD_LOOPBACK = "127.0.0.1", "127.0.0.2"


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser(
        "demo", help="deliver a message to a mail server on loopback, and show how", description=__doc__
    )
    own.add_argument("--directory", type=Path, metavar="DIR", help="where to keep the received message")
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show it.

    Returns:
        0: one recipient was delivered and the other refused, as it should be; 70: something went wrong.
    """
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="smtpdeliver-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    return run_in_reactor(lambda reactor: _demo(reactor, directory))


async def _demo(reactor: Any, directory: Path) -> int:
    mailbox = directory / "received.eml"
    server = _MailServer(mailbox)
    mail_port = reactor.listenTCP(0, server, interface=LOOPBACK)
    names = DNSServerFactory(authorities=[_Zone()])
    names_port = reactor.listenUDP(0, dns.DNSDatagramProtocol(controller=names), interface=LOOPBACK)
    nexthop = f"{DOMAIN}:{mail_port.getHost().port}"
    print(f"The destination is {nexthop}. Its mail exchangers are mx1.{DOMAIN}, which is down, and mx2.{DOMAIN}.\n")
    content = BytesContent(_message())
    reporter = TerminalReporter(lambda line: None)
    try:
        # Port names, real hosts and the configuration of a Postfix on this machine play no part.
        settings = load_settings(None, overrides=[("inet_protocols", "ipv4"), ("inet_interfaces", LOOPBACK)])
        request = make_request(SENDER, [KNOWN, UNKNOWN], nexthop, content)
        servers = [(LOOPBACK, names_port.getHost().port)]
        await send(reactor, settings, request, content, reporter, _log, servers)
    finally:
        await Deferred.fromCoroutine(_stop(mail_port, names_port))
    print("The dialog, as the mail server saw it:\n")
    print("\n".join(server.transcript))
    print("\nWhat became of the recipients:\n")
    for result in reporter.results:
        print(
            printable(
                f"  <{result.recipient.address}> {result.fate.value}: {result.dsn.status} {result.dsn.reason}"
                f" [{result.relay}]"
            )
        )
    fates = {result.recipient.address: result.fate for result in reporter.results}
    if fates != {KNOWN: Fate.SENT, UNKNOWN: Fate.BOUNCED} or not mailbox.exists():
        print("\nThat is not what should have happened.", file=sys.stderr)
        return 70
    print(f"\nThe received message lies in {mailbox}")
    return 0


async def _stop(*ports: Any) -> None:
    for port in ports:
        await port.stopListening()


def _log(event: Event) -> None:
    if not isinstance(event, RecipientLogged):
        print(f"log: {line_of(event, LogStyle())[1]}\n")


def _message() -> bytes:
    lines = [
        f"From: {SENDER}",
        f"To: {KNOWN}, {UNKNOWN}",
        "Subject: A first delivery",
        f"Date: {formatdate(localtime=True)}",
        f"Message-ID: {make_msgid(domain='client.example')}",
        "",
        "This message was looked up, dialled, pipelined and delivered by twisted_mta.",
        ".",
        "The line above is a lone dot: it arrives as it was written.",
        "",
    ]
    return "\n".join(lines).encode()


class _Zone(FileAuthority):
    """The zone of the demo's domain."""

    def __init__(self) -> None:
        super().__init__(None)

    def loadFile(self, filename: object) -> None:
        """Make the records; there is no file."""
        origin = DOMAIN.encode()
        authority = dns.Record_SOA(mname=b"ns." + origin, rname=b"root." + origin, minimum=0)
        self.soa: Any = (origin, authority)
        self.records: Any = {
            origin: [
                authority,
                dns.Record_MX(10, b"mx1." + origin, ttl=0),
                dns.Record_MX(20, b"mx2." + origin, ttl=0),
            ],
            b"mx1." + origin: [dns.Record_A(DEAD_LOOPBACK, ttl=0)],
            b"mx2." + origin: [dns.Record_A(LOOPBACK, ttl=0)],
        }


@implementer(IMessageDelivery)
class _Delivery:
    """Takes mail for the one known recipient."""

    def __init__(self, mailbox: Path) -> None:
        self._mailbox = mailbox

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        """The trace header that a server puts in front (RFC 5321 section 4.4)."""
        return b"Received: from %b by mx2.%b" % (helo[0], DOMAIN.encode())

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        """Take mail from anybody."""
        return origin

    def validateTo(self, user: User) -> Any:
        """Refuse all recipients but one."""
        if str(user.dest) != KNOWN:
            raise SMTPBadRcpt(user)
        return lambda: _Message(self._mailbox)


@implementer(IMessageSMTP)
class _Message:
    """Writes what it gets into a file."""

    def __init__(self, mailbox: Path) -> None:
        self._mailbox = mailbox
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        """One line of the content."""
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """The content is complete."""
        self._mailbox.write_bytes(b"\n".join(self._lines) + b"\n")
        return succeed(None)

    def connectionLost(self) -> None:
        """The client went away within the content."""
        self._lines.clear()


class _MailServer(ServerFactory):
    """A mail server that keeps a transcript."""

    noisy = False

    def __init__(self, mailbox: Path) -> None:
        self.transcript: list[str] = []
        self._mailbox = mailbox

    def buildProtocol(self, addr: object) -> "_Conversation":
        """A client came."""
        conversation = _Conversation(self.transcript)
        conversation.host = f"mx2.{DOMAIN}".encode()
        conversation.delivery = _Delivery(self._mailbox)
        conversation.factory = self
        return conversation


class _Conversation(ESMTP):
    """Twisted's server, overheard."""

    noisy = False

    def __init__(self, transcript: list[str]) -> None:
        super().__init__()
        self._transcript = transcript

    def lineReceived(self, line: bytes) -> Any:
        """Hear a line of the client."""
        self._transcript.append("  C: " + printable(to_text(line)))
        return super().lineReceived(line)

    def sendLine(self, line: bytes) -> Any:
        """Say a line."""
        self._transcript.append("  S: " + printable(to_text(line)))
        return super().sendLine(line)
