"""Drop records that the administrator does not want to see (smtp_dns_reply_filter).

Flow: stands between those who ask (routing/, tls/) and the cache, which all configurations share.
Sources: postconf(5) smtp_dns_reply_filter; the texts and results are those of a running smtp(8).
"""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.dns.reading import type_name
from twisted_mta.interfaces import IDNSClient, TableError
from twisted_mta.model.answers import (
    AddressRecord,
    Answer,
    LookupResult,
    MxRecord,
    NameRecord,
    Record,
    RecordType,
    Search,
    SrvRecord,
    TlsaRecord,
)
from twisted_mta.model.events import Emit, RecordIgnored, UnknownFilterAction

LookUp = Callable[[str], str | Deferred[str | None] | None]
"""Looks a text up in the tables of the parameter; raises TableError, which has been told."""

_IGNORE = "ignore"
_ALL_DROPPED = "DNS reply filter drops all results"
_BROKEN = "Invalid DNS reply filter syntax"


class _FilterError(Exception):
    """The tables give no sense."""


@implementer(IDNSClient)
class FilteringClient:
    """A DNS client that hides records of another one.

    Args:
        client: whom to ask.
        look_up: the tables.
        parameter: the name of the parameter.
        emit: takes events.
    """

    def __init__(self, client: IDNSClient, look_up: LookUp, parameter: str, emit: Emit) -> None:
        self._client = client
        self._look_up = look_up
        self._parameter = parameter
        self._emit = emit

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """See IDNSClient."""
        asked = self._client.lookup(name, rdtype, dnssec=dnssec, search=search)
        return asked.addCallback(self._filtered)

    def _filtered(self, answer: Answer) -> Deferred[Answer]:
        if answer.result is not LookupResult.OK:
            return succeed(answer)
        return Deferred.fromCoroutine(self._filter(answer))

    async def _filter(self, answer: Answer) -> Answer:
        records, rdtype = answer.records, answer.rdtype
        try:
            kept = [record for record in records if not await self._is_ignored(text_of(record, rdtype))]
        except _FilterError:
            return self._refused(answer, LookupResult.RETRY, _BROKEN)
        if not kept:
            return self._refused(answer, LookupResult.POLICY, _ALL_DROPPED)
        return replace(answer, records=tuple(kept))

    async def _is_ignored(self, text: str) -> bool:
        try:
            found = self._look_up(text)
            action = await found if isinstance(found, Deferred) else found
        except TableError as error:
            raise _FilterError from error
        if action is None:
            return False
        if action.lower().split(None, 1)[:1] == [_IGNORE]:
            self._emit(RecordIgnored(text))
            return True
        self._emit(UnknownFilterAction(self._parameter, action))
        raise _FilterError

    @staticmethod
    def _refused(answer: Answer, result: LookupResult, why: str) -> Answer:
        reason = f"Error looking up name={answer.name} type={type_name(answer.rdtype)}: {why}"
        return replace(answer, result=result, records=(), reason=reason, lifetime=0)


def text_of(record: Record, rdtype: RecordType) -> str:
    """A record as zone files have it, such as ``dest.example. 60 IN MX 10 mx1.dest.example.``.

    Args:
        record: the record.
        rdtype: its type.
    """
    return f"{record.owner}. {record.ttl} IN {type_name(rdtype)} {_data_of(record)}"


def _data_of(record: Record) -> str:
    match record:
        case AddressRecord():
            return record.address
        case MxRecord():
            return f"{record.preference} {record.exchange}."
        case SrvRecord():
            return f"{record.priority} {record.weight} {record.port} {record.target}."
        case TlsaRecord():
            return f"{record.usage} {record.selector} {record.matching_type} {record.data.hex()}"
        case NameRecord():
            return f"{record.target}."
