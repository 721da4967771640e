"""Command lines, without their line ends.

Flow: smtp/transaction.py asks for a command when it is to be written.
Sources: RFC 5321 section 4.1.1; RFC 1870 section 6; RFC 3461 section 4; RFC 6152; RFC 6531 section 3.4; XFORWARD_README.
"""

import re

from twisted_mta.model.address import quote_5321, quote_5322
from twisted_mta.model.request import DeliveryRequest, Notify, Recipient, Return, SmtpUtf8
from twisted_mta.model.text import to_wire
from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.xtext import uxtext, xforward_text, xtext

_FORBIDDEN = re.compile(r"[\0\r\n]")
_BODY = {"8bit": b" BODY=8BITMIME", "7bit": b" BODY=7BIT"}
_RET = {Return.UNSPECIFIED: b"", Return.FULL: b" RET=FULL", Return.HEADERS: b" RET=HDRS"}


def is_speakable(address: str) -> bool:
    """Whether an address can stand in a command: a line break would end it, and smuggle in another."""
    return _FORBIDDEN.search(address) is None


def _envelope_address(address: str, settings: DialogSettings) -> bytes:
    """What stands between the angle brackets.

    Raises:
        ValueError: the address is not speakable.
    """
    if not is_speakable(address):
        raise ValueError("line break or null character in mail address")
    return to_wire(quote_5321(address) if settings.quote_envelope else address)


def hello(word: bytes, name: str) -> bytes:
    """EHLO, HELO or LHLO."""
    return word + b" " + to_wire(name)


def needs_downgrade(request: DeliveryRequest, capabilities: Capabilities, settings: DialogSettings) -> bool:
    """Whether the content must be made 7bit for this server (RFC 6152 section 3)."""
    return (
        settings.convert_mime and not capabilities.offers(Feature.EIGHTBITMIME) and request.encoding.lower() != "7bit"
    )


def mail_from(request: DeliveryRequest, capabilities: Capabilities, settings: DialogSettings) -> bytes:
    """MAIL FROM with its parameters in the order SIZE, BODY, ENVID, RET, SMTPUTF8, AUTH.

    Raises:
        ValueError: the sender is not speakable.
    """
    command = b"MAIL FROM:<%b>" % _envelope_address(request.sender, settings)
    if capabilities.offers(Feature.SIZE) and not needs_downgrade(request, capabilities, settings):
        # A message that will be converted has a size that nobody knows yet.
        command += b" SIZE=%d" % request.size
    if capabilities.offers(Feature.EIGHTBITMIME):
        command += _BODY.get(request.encoding.lower(), b"")
    if capabilities.offers(Feature.DSN):
        if request.envelope_id:
            command += b" ENVID=" + xtext(request.envelope_id)
        command += _RET[request.ret]
    if capabilities.offers(Feature.SMTPUTF8) and request.smtputf8 & SmtpUtf8.REQUESTED:
        command += b" SMTPUTF8"
    if settings.dummy_mail_auth and capabilities.offers(Feature.AUTH):
        command += b" AUTH=<>"
    return command


def rcpt_to(
    recipient: Recipient, request: DeliveryRequest, capabilities: Capabilities, settings: DialogSettings
) -> bytes:
    """RCPT TO, with ORCPT and NOTIFY where the server has DSN.

    Raises:
        ValueError: the recipient is not speakable.
    """
    command = b"RCPT TO:<%b>" % _envelope_address(recipient.address, settings)
    if capabilities.offers(Feature.DSN):
        command += _orcpt(recipient, request)
        if recipient.notify:
            words = (flag for flag in (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY))
            command += b" NOTIFY=" + ",".join(str(flag.name) for flag in words if flag in recipient.notify).encode()
    return command


def _orcpt(recipient: Recipient, request: DeliveryRequest) -> bytes:
    """The original recipient: what the sender said, or else the address before rewriting."""
    given = recipient.dsn_orcpt
    if not given:
        if not recipient.original:
            return b""
        quoted = quote_5322(recipient.original)
        is_utf8 = request.smtputf8 != SmtpUtf8.NONE and not quoted.isascii()
        given = f"{'utf-8' if is_utf8 else 'rfc822'};{quoted}"
    if given[:6].lower() == "utf-8;":
        try:
            return b" ORCPT=" + uxtext(given)
        except ValueError:
            # Not UTF-8 after all: RFC 6533 has no form for it, and a garbled one would help nobody.
            return b""
    return b" ORCPT=" + xtext(given)


def xforward(request: DeliveryRequest, capabilities: Capabilities) -> tuple[bytes, bytes]:
    """The two XFORWARD commands; an empty one has nothing to say."""
    client = request.client
    known = {
        "NAME": "" if client.name.lower() == "unknown" else client.name,
        "ADDR": "" if client.address.lower() == "unknown" else client.address,
        "PORT": "" if client.port.lower() == "unknown" else client.port,
        "PROTO": "" if client.protocol.lower() == "unknown" else client.protocol,
        "HELO": client.helo,
        "IDENT": client.ident,
        "SOURCE": "LOCAL" if request.rewrite_context == "local" else "REMOTE",
    }

    def command(names: tuple[str, ...]) -> bytes:
        said = [
            b" %b=%b" % (name.encode(), xforward_text(known[name]))
            for name in names
            if known[name] and capabilities.offers(Feature[f"XFORWARD_{name}"])
        ]
        return b"XFORWARD" + b"".join(said) if said else b""

    return command(("NAME", "ADDR", "PORT")), command(("PROTO", "HELO", "IDENT", "SOURCE"))
