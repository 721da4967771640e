"""One lookup from its question to its Answer: which server, UDP or TCP, when to go on, which alias to follow. No I/O.

Flow: dns/client.py drives `Resolution.resolve`: dns/transport.py carries out each Ask that it yields, and what came back is
sent in; in the end it returns the Answer.
How the servers are gone round, as the C library does it:
- A lookup goes round all servers, `attempts` times; who does not answer in time, cannot be reached, or has SERVFAIL,
  NOTIMP, REFUSED, or neither data nor recursion to offer, is passed over for the next.
- Once a reply is truncated, that server and those after it are asked by TCP, once.
- Any other reply settles the question, if only with an error.
Sources: resolv.conf(5) and resolver(3); RFC 1035 sections 4.2 and 7; RFC 6840 section 5.8 (AD); the results, texts and
queries of a running Postfix.
"""

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass

from twisted_mta.dns.hostnames import hostname_problem, valid_address, valid_hostname
from twisted_mta.dns.reading import LONGEST_LIFETIME, Found, Unusable, read_answers, type_name
from twisted_mta.dns.resolv_conf import ResolvConf, Server
from twisted_mta.dns.wire import LONGEST_NAME, Reply, build_query, read_reply
from twisted_mta.model.answers import Answer, LookupResult, RecordType, Search
from twisted_mta.model.events import Emit, NameServerLoop

MOST_QUERIES = 10
"""How many names of a chain of aliases are asked for."""

_NOERROR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = 0, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as in IDNSClient.lookup."""

    name: str
    rdtype: RecordType
    dnssec: bool = False
    search: Search = Search.NONE


@dataclass(frozen=True, slots=True)
class Ask:
    """One exchange with one server.

    Attributes:
        server: whom to ask.
        by_tcp: whether by TCP.
        query: the message to send.
        seconds: how long to wait for the reply.
    """

    server: Server
    by_tcp: bool
    query: bytes
    seconds: float


class Failure(enum.Enum):
    """A reply without data: its class, and the words for it."""

    NO_HOST = (LookupResult.NOT_FOUND, "Host not found")
    NO_DATA = (LookupResult.NOT_FOUND, "Host found but no data record of requested type")
    TRY_AGAIN = (LookupResult.RETRY, "Host not found, try again")
    FATAL = (LookupResult.FAIL, "Non-recoverable error")


_FAILURE_OF_RCODE = {
    _NOERROR: Failure.NO_DATA,
    _SERVFAIL: Failure.TRY_AGAIN,
    _NXDOMAIN: Failure.NO_HOST,
    _NOTIMP: Failure.TRY_AGAIN,
    _REFUSED: Failure.TRY_AGAIN,
}
"""What a reply without data means; any other code is FATAL."""

Steps = Generator[Ask, bytes | None, Answer]
"""Yields what to do; wants the reply, or None if there was none; returns the Answer."""

_Asking = Generator[Ask, bytes | None, Reply | None]


@dataclass(frozen=True, slots=True)
class Resolution:
    """How questions are resolved under one configuration.

    Attributes:
        conf: the configuration.
        first: the place of the server to begin with.
        make_id: gives a query id that others cannot guess.
        emit: is told what is wrong with replies.
    """

    conf: ResolvConf
    first: int
    make_id: Callable[[], int]
    emit: Emit

    def resolve(self, question: Question) -> Steps:
        """Answer a question, following aliases that come without the data behind them."""
        name, rdtype = question.name, question.rdtype
        if not _can_be_asked(name):
            return _failed(
                question, LookupResult.NOT_FOUND, f"Name service error for {name}: invalid host or domain name"
            )
        if len(name) > LONGEST_NAME:
            return _failed(question, *_failure_text(Failure.FATAL, name, rdtype))
        candidates = candidate_names(name, self.conf, question.search)
        secure, lifetime = question.dnssec, LONGEST_LIFETIME
        for _ in range(MOST_QUERIES):
            reply = yield from self._ask_for_any(candidates, name, rdtype, secure)
            # What a server did not validate leads to nothing valid, and is not worth asking for.
            secure = secure and reply is not None and reply.authentic
            failure = _failure_of(reply)
            if reply is None or failure is not None:
                result, reason = _failure_text(failure or Failure.TRY_AGAIN, name, rdtype)
                keep = min(lifetime, reply.negative_ttl) if reply and result is LookupResult.NOT_FOUND else 0
                return Answer(question.name, rdtype, result, (), secure, reason, keep)
            finding = read_answers(reply, name, rdtype, self.emit)
            if isinstance(finding, Unusable):
                text = _unusable_text(finding.result, name, rdtype)
                keep = min(lifetime, finding.lifetime)
                return Answer(question.name, rdtype, finding.result, (), secure, text, keep)
            lifetime = min(lifetime, finding.lifetime)
            if isinstance(finding, Found):
                return Answer(question.name, rdtype, LookupResult.OK, finding.records, secure, "", lifetime)
            name, candidates = finding.target, (finding.target,)
        self.emit(NameServerLoop(name))
        return _failed(question, LookupResult.NOT_FOUND, f"Name server loop for {name}")

    def _ask_for_any(self, names: tuple[str, ...], asked: str, rdtype: RecordType, dnssec: bool) -> _Asking:
        """Ask for the names of a search list until one has data.

        A name that is absent, or whose servers fail, lets the next be tried. If none has data, what counts is the failure of
        the name as it stands if that came first; else that of a name without data of this type; else a failure of servers.
        """
        failed: list[Reply] = []
        for name in names:
            reply = yield from self._ask_for(name, rdtype, dnssec)
            failure = _failure_of(reply)
            if reply is None or failure in (None, Failure.FATAL):
                return reply
            failed.append(reply)
        if names[0] == asked:
            return failed[0]
        for failure in (Failure.NO_DATA, Failure.TRY_AGAIN):
            for reply in failed:
                if _failure_of(reply) is failure:
                    return reply
        return failed[-1]

    def _ask_for(self, name: str, rdtype: RecordType, dnssec: bool) -> _Asking:
        """Ask for a name, going round the servers.

        Returns:
            The reply that settles it; else the last of those that were passed over; None if no server answered.
        """
        servers = self.conf.servers[self.first :] + self.conf.servers[: self.first]
        by_tcp = self.conf.use_tcp
        last: Reply | None = None
        for _ in range(self.conf.attempts):
            for place, server in enumerate(servers):
                seconds = self.conf.seconds_for(place)
                reply = yield from self._exchange(server, by_tcp, name, rdtype, dnssec, seconds)
                if reply is not None and reply.truncated and not by_tcp:
                    by_tcp = True
                    reply = yield from self._exchange(server, by_tcp, name, rdtype, dnssec, seconds)
                if reply is not None:
                    if not _is_passed_over(reply):
                        return reply
                    last = reply
            if by_tcp:
                break
        return last

    def _exchange(
        self, server: Server, by_tcp: bool, name: str, rdtype: RecordType, dnssec: bool, seconds: float
    ) -> _Asking:
        query = build_query(self.make_id(), name, rdtype, edns=self.conf.edns0, dnssec=dnssec)
        data = yield Ask(server, by_tcp, query, seconds)
        return None if data is None else read_reply(data, query)


def candidate_names(name: str, conf: ResolvConf, search: Search) -> tuple[str, ...]:
    """The names to try for a name that need not be complete, in this order (resolv.conf(5), search and ndots)."""
    if not search & (Search.DOTTED if "." in name else Search.FIRST):
        return (name,)
    domains = conf.search if search & Search.DOTTED else conf.search[:1]
    completed = [f"{name}.{domain}" for domain in domains]
    names = [name, *completed] if name.count(".") >= conf.ndots else [*completed, name]
    return tuple(candidate for candidate in names if len(candidate) <= LONGEST_NAME)


def _can_be_asked(name: str) -> bool:
    """Whether a name is the root, a host name, or one with ``*`` for its first label; but no address."""
    if valid_hostname(name) or name == ".":
        return True
    return not valid_address(name) and not hostname_problem(name, wildcard=True)


def _is_passed_over(reply: Reply) -> bool:
    """Whether another server should be asked."""
    return _failure_of(reply) is Failure.TRY_AGAIN


def _failure_of(reply: Reply | None) -> Failure | None:
    """Why a reply, or its absence, settles a question without data; None if there are data."""
    if reply is None:
        return Failure.TRY_AGAIN
    if reply.rcode == _NOERROR:
        if reply.answers or reply.broken:
            return None
        # A server that is neither a resolver nor in charge of the name has nothing to say about it.
        if not reply.recursion_available and not reply.authoritative:
            return Failure.TRY_AGAIN
    return _FAILURE_OF_RCODE.get(reply.rcode, Failure.FATAL)


def _failed(question: Question, result: LookupResult, reason: str) -> Answer:
    return Answer(question.name, question.rdtype, result, reason=reason)


def _failure_text(failure: Failure, name: str, rdtype: RecordType) -> tuple[LookupResult, str]:
    result, words = failure.value
    return (
        result,
        f"Host or domain name not found. Name service error for name={name} type={type_name(rdtype)}: {words}",
    )


_NULL_TEXTS = {
    LookupResult.NULL_MX: "Domain {name} does not accept mail (nullMX)",
    LookupResult.NULL_SRV: "Domain {name} does not support SRV requests",
}
_UNUSABLE_TEXT = "Name service error for name={name} type={type}: Malformed or unexpected name server reply"


def _unusable_text(result: LookupResult, name: str, rdtype: RecordType) -> str:
    return _NULL_TEXTS.get(result, _UNUSABLE_TEXT).format(name=name, type=type_name(rdtype))
