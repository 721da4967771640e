"""The dialog from the server's greeting to the end of EHLO, HELO or LHLO.

The rules, in order:
1. A 2xx greeting goes on. 4xx, and 5xx with smtp_skip_5xx_greeting, is a soft failure; every other one is hard.
2. EHLO is said if the greeting has the word ESMTP or smtp_always_send_ehlo is on; not with smtp_never_send_ehlo or for a PIX
   firewall. LMTP always says LHLO, and a second pass inside TLS always says EHLO.
3. EHLO refused with anything but 421: HELO. HELO and LHLO have no alternative.
4. A server that calls itself by our own name is ourselves: the mail loops.
5. What a table says about a server's address takes the place of what the parameter says about all. Without an answer no mail
   goes out, as what the server offers may not be trusted; workarounds are no matter of trust.

Flow: session/performing.py drives it; delivery/ goes on with a transaction, or takes the failure.
Sources: RFC 5321 sections 3.1, 3.2 and 4.1.1.1; RFC 2033 section 4.1; postconf(5); smtp(8).
"""

import re
from dataclasses import dataclass, replace

from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    AwaitReply,
    Breakage,
    ConnectionBrokenError,
    Dialog,
    LookUp,
    Note,
    PeerTable,
    Write,
    refused_to_talk,
    trouble_of,
)
from twisted_mta.smtp.capabilities import (
    Capabilities,
    Feature,
    discarded_for_log,
    parse_discard_words,
    parse_ehlo,
)
from twisted_mta.smtp.commands import hello
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.settings import DialogSettings, parse_pix_words
from twisted_mta.smtp.workarounds import PixWorkarounds, is_pix_greeting, workarounds_for

_FIRST_WORD_END = re.compile(r"[- \t\n]")
_SPACE = re.compile(r"[ \t\n]+")
_WORD_ENDS = re.compile(r"[, \t\r\n]+")  # in the value of a table


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server is ready for mail.

    Attributes:
        capabilities: what it offers; nothing after HELO.
        pix: what its greeting calls for.
    """

    capabilities: Capabilities
    pix: PixWorkarounds


@dataclass(frozen=True, slots=True)
class Rebuff:
    """The session ends before any mail: why, for all recipients."""

    why: DsnStatus


@dataclass(frozen=True, slots=True)
class Occasion:
    """The message that a session is opened for.

    Attributes:
        queue_id: its queue id.
        age_seconds: how long ago it arrived.
        sender: its envelope sender, in internal form.
        destination: where it goes, as that is configured, without ``unix:``.
    """

    queue_id: str
    age_seconds: float = 0.0
    sender: str = ""
    destination: str = ""


def greet(peer: Peer, settings: DialogSettings, occasion: Occasion) -> Dialog[Welcome | Rebuff]:
    """The whole phase on a new connection."""
    greeting = yield AwaitReply(phases.GREETING)
    assert greeting is not None
    if not greeting.is_positive:
        yield from trouble_of(greeting)
        return _rebuffed_by_greeting(peer, greeting, settings)
    words = _greeting_words(greeting.text)
    if peer.detect_loops and words and words[0].lower() == settings.myhostname.lower():
        yield Note(events.GreetedWithOwnName(peer.relay, settings.myhostname))
    pix = PixWorkarounds()
    if is_pix_greeting(greeting.text):
        pix = yield from _pix_workarounds(peer, settings, occasion)
    welcome = yield from introduce(
        peer, settings, extended=_says_ehlo(words, pix, settings), queue_id=occasion.queue_id
    )
    return replace(welcome, pix=pix) if isinstance(welcome, Welcome) else welcome


def introduce(peer: Peer, settings: DialogSettings, *, extended: bool, queue_id: str = "") -> Dialog[Welcome | Rebuff]:
    """EHLO with its fallback HELO, or LHLO.

    Args:
        peer: the server.
        settings: how.
        extended: whether EHLO is tried at all.
        queue_id: of the message, for the log.

    Raises:
        ConnectionBrokenError: the connection broke, or a table cannot be asked.
    """
    if settings.lmtp:
        word, phase = b"LHLO", phases.LHLO
    elif extended:
        word, phase = b"EHLO", phases.EHLO
    else:
        word, phase = b"HELO", phases.HELO
    reply = yield from _say(word, phase, settings)
    if not reply.is_positive and phase is phases.EHLO and reply.code != 421:
        phase = phases.HELO
        reply = yield from _say(b"HELO", phase, settings)
    if not reply.is_positive:
        yield from trouble_of(reply)
        return Rebuff(refused_to_talk(peer, reply))
    if phase is phases.HELO:
        return Welcome(Capabilities(), PixWorkarounds())
    discard = settings.discard
    if settings.asks_discard_maps:
        discard = yield from _discarded_for(peer, settings, phase, queue_id)
    shown = discarded_for_log(discard)
    if shown:
        yield Note(events.EhloKeywordsDiscarded(shown))
    capabilities = parse_ehlo(reply.text, discard)
    if capabilities.bad_size:
        yield Note(events.SizeLimitUnreadable(capabilities.bad_size, peer.relay))
    if peer.detect_loops and capabilities.name.lower() == settings.myhostname.lower():
        yield Note(events.RepliedWithOwnName(peer.relay, settings.myhostname))
        # A worse host may know a way to a better one; the best one is the end of the road.
        status = "5.4.6" if peer.is_best else "4.4.6"
        return Rebuff(DsnStatus(status, f"mail for {peer.nexthop} loops back to myself"))
    if capabilities.offers(Feature.SMTPUTF8) and not capabilities.offers(Feature.EIGHTBITMIME):
        yield Note(events.SmtpUtf8Without8BitMime(peer.namaddr))
        capabilities = replace(capabilities, features=capabilities.features | Feature.EIGHTBITMIME)
    return Welcome(capabilities, PixWorkarounds())


def _pix_workarounds(peer: Peer, settings: DialogSettings, occasion: Occasion) -> Dialog[PixWorkarounds]:
    """What to do about a server that hides behind a PIX firewall."""
    words = settings.pix_workarounds
    if settings.asks_pix_maps:
        question = LookUp(PeerTable.PIX_WORKAROUNDS, peer.address)
        yield question
        if question.found is not None:
            words = parse_pix_words(_WORD_ENDS.split(question.found))
    if not words:
        return PixWorkarounds()
    pix = workarounds_for(words, settings, occasion.age_seconds)
    yield Note(events.PixWorkaroundsEnabled(occasion.queue_id, pix.words, peer.relay))
    return pix


def _discarded_for(peer: Peer, settings: DialogSettings, phase: phases.Phase, queue_id: str) -> Dialog[frozenset[str]]:
    """The keywords that this server is not believed.

    Raises:
        ConnectionBrokenError: nobody can tell.
    """
    question = LookUp(PeerTable.DISCARDED_KEYWORDS, peer.address)
    yield question
    if question.failed:
        yield Note(events.PeerTableFailed(queue_id, settings.discard_maps, peer.address))
        raise ConnectionBrokenError(Breakage.LOCAL_ERROR, phase)
    return settings.discard if question.found is None else parse_discard_words(_WORD_ENDS.split(question.found))


def _say(word: bytes, phase: phases.Phase, settings: DialogSettings) -> Dialog[Reply]:
    yield Write(hello(word, settings.hello_name) + b"\r\n")
    reply = yield AwaitReply(phase)
    assert reply is not None
    return reply


def _rebuffed_by_greeting(peer: Peer, greeting: Reply, settings: DialogSettings) -> Rebuff:
    why = refused_to_talk(peer, greeting)
    if 500 <= greeting.code < 600 and settings.skip_5xx_greeting:
        why = why.softened()
    return Rebuff(why)


def _greeting_words(text: str) -> list[str]:
    """The words of a greeting behind its first code; the codes of further lines are words too, and do no harm."""
    rest = _FIRST_WORD_END.split(text, maxsplit=1)[1:]
    return [word for word in _SPACE.split(rest[0]) if word] if rest else []


def _says_ehlo(words: list[str], pix: PixWorkarounds, settings: DialogSettings) -> bool:
    if settings.never_send_ehlo or pix.disable_esmtp:
        return False
    return settings.always_send_ehlo or any(word.lower() == "esmtp" for word in words)
