"""TLSA records of servers: looked up, sifted, remembered.

Only answers that were validated with DNSSEC count. Records that mean nothing in mail are dropped and told at once; whether a
certificate can match one of the others is found out with the certificate at hand.

Flow: tls/dane.py asks for the records at a name; dns/ answers.
Sources: RFC 6698 sections 2.1 and 3; RFC 7672 sections 2.2 and 3.1; the log of a running Postfix.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import Answer, LookupResult, RecordType, TlsaRecord
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsaLookupFailed, TlsaRecordFound, TlsaRecordTruncated, TlsaRecordUnsupported
from twisted_mta.tls.policy import Association
from twisted_mta.tls.record_text import record_text

_MOST_NAMES = 20
_SHORTEST_KEPT, _LONGEST_KEPT = 1, 100
"""Seconds for which an answer is remembered."""

_FIXED_OCTETS = 3
_USABLE_USAGES = (2, 3)  # RFC 7672 section 3.1.3: the others need authorities on which all agree
_PRIVATE_USE = 255


class TlsaLookupError(Exception):
    """Whether there are TLSA records cannot be found out for now, which has been told."""


@dataclass(frozen=True, slots=True)
class TlsaRecords:
    """The validated TLSA records at a name.

    Attributes:
        associations: those that mean something, in the order of the answer; may be empty.
    """

    associations: tuple[Association, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is remembered of a name.

    Attributes:
        records: what was found; None: nothing that counts.
        failed: whether nobody knows.
        kept_until: by the clock, when it has to be asked for again.
    """

    records: TlsaRecords | None
    failed: bool
    kept_until: float


class TlsaLookups:
    """Looks TLSA records up, and remembers a few names."""

    def __init__(self, dns: IDNSClient, emit: Emit, seconds: Callable[[], float], *, tells: bool) -> None:
        """Remember nothing yet.

        Args:
            dns: asks name servers.
            emit: takes events.
            seconds: the time.
            tells: whether each record is told.
        """
        self._dns = dns
        self._emit = emit
        self._seconds = seconds
        self._tells = tells
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def find(self, host: str, port: int) -> TlsaRecords | None:
        """Look up the records of a server.

        Args:
            host: its name, in A-label form.
            port: TCP port.

        Returns:
            The records; None: there are none that were validated.

        Raises:
            TlsaLookupError: nobody can tell.
        """
        name = f"_{port}._tcp.{host}"
        entry = self._entries.get(name)
        if entry is None:
            entry = await self._ask(name)
        else:
            self._entries.move_to_end(name)
        # Not to be used any more. A failure is so from its beginning: a new name gets a second chance at once.
        if entry.kept_until <= self._seconds():
            entry = await self._ask(name)
        if entry.failed:
            raise TlsaLookupError
        return entry.records

    async def _ask(self, name: str) -> _Entry:
        answer = await self._dns.lookup(name, RecordType.TLSA, dnssec=True)
        entry = self._understand(answer)
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if len(self._entries) > _MOST_NAMES:
            self._entries.popitem(last=False)
        return entry

    def _understand(self, answer: Answer) -> _Entry:
        now = self._seconds()
        if answer.result not in (LookupResult.OK, LookupResult.NOT_FOUND):
            self._emit(TlsaLookupFailed(answer.reason))
            return _Entry(None, True, now)
        lifetime = min(max(answer.lifetime, _SHORTEST_KEPT), _LONGEST_KEPT)
        records = self._sift(answer) if answer.result is LookupResult.OK and answer.secure else None
        return _Entry(records, False, now + lifetime + 1)

    def _sift(self, answer: Answer) -> TlsaRecords:
        found = (self._usable(answer.name, record) for record in answer.records if isinstance(record, TlsaRecord))
        return TlsaRecords(tuple(association for association in found if association is not None))

    def _usable(self, qname: str, record: TlsaRecord) -> Association | None:
        """What a record means; None: nothing, which is told."""
        name = qname if record.owner.lower() == qname.lower() else f"{qname} -> {record.owner}"
        octets = _FIXED_OCTETS + len(record.data) if record.cut_at is None else record.cut_at
        association = Association(record.usage, record.selector, record.matching_type, record.data)
        if octets <= _FIXED_OCTETS:
            self._emit(TlsaRecordTruncated(name, octets))
        elif record.usage not in _USABLE_USAGES:
            self._emit(TlsaRecordUnsupported(name, "unsupported TLSA certificate usage", record_text(association)))
        elif record.matching_type == _PRIVATE_USE:
            self._emit(TlsaRecordUnsupported(name, "reserved private-use matching type", record_text(association)))
        else:
            if self._tells:
                self._emit(TlsaRecordFound(record.owner, record_text(association)))
            return association
        return None
