"""Find out whether the resolver validates at all, and say so if it does not (dnssec_probe).

When validated data has been asked for, and no answer that this process got was validated, one more question is asked whose answer
should be; after that, never again. Whatever comes of it, it changes no delivery.

Flow: stands between those who ask (routing/, tls/) and the rest of dns/.
Sources: postconf(5) dnssec_probe; RFC 6840 section 5.8 (the AD bit); the log of a running smtp(8).
"""

from dataclasses import dataclass

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import Answer, LookupResult, RecordType, Search
from twisted_mta.model.events import Emit, ProbeNotValidated, ValidationInDoubt

_NO_RESPONSE = (LookupResult.RETRY, LookupResult.FAIL)

_NOT_ASKED = (
    "ANY", "AFSDB", "AXFR", "DNAME", "GPOS", "HINFO", "ISDN", "KEY", "LOC", "MAILA", "MAILB", "MB", "MD", "MF", "MG", "MINFO",
    "MR", "NSAP", "NULL", "PX", "RP", "RRSIG", "RT", "SIG", "WKS", "X25",
)  # fmt: skip
"""Types that Postfix can ask for, but that nobody has a use for here: with them there is no probe."""


@dataclass(slots=True)
class ValidationWatch:
    """What this process knows of its resolver; all configurations share it.

    Attributes:
        settled: whether a validated answer has been seen, or the probe has been made.
    """

    settled: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """A question whose answer a validating resolver validates.

    Attributes:
        text: as configured.
        name: the name to ask for.
        rdtype: the type to ask for.
    """

    text: str
    name: str
    rdtype: RecordType

    @classmethod
    def parse(cls, text: str) -> "Probe | None":
        """Read dnssec_probe: ``type:name``; None: there is no probe.

        Raises:
            ConfigError: it is something else.
        """
        type_text, _, name = text.partition(":")
        word = type_text.upper()
        if name and word in RecordType.__members__:
            return cls(text, name, RecordType[word])
        if not text or (name and word in _NOT_ASKED):
            return None
        problem = f"malformed dnssec_probe value: {text} format is qtype:qname"
        raise ConfigError(problem, parameter="dnssec_probe")


@implementer(IDNSClient)
class ProbingClient:
    """A DNS client that looks whether another one ever gives validated answers.

    Args:
        client: whom to ask.
        probe: the question.
        watch: what is known.
        emit: takes events.
    """

    def __init__(self, client: IDNSClient, probe: Probe, watch: ValidationWatch, emit: Emit) -> None:
        self._client = client
        self._probe = probe
        self._watch = watch
        self._emit = emit

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """See IDNSClient."""
        asked = self._client.lookup(name, rdtype, dnssec=dnssec, search=search)
        return asked.addCallback(self._look) if dnssec and not self._watch.settled else asked

    def _look(self, answer: Answer) -> Answer | Deferred[Answer]:
        watch = self._watch
        if watch.settled:
            return answer
        watch.settled = True
        if answer.secure:
            return answer
        probe = self._probe
        return self._client.lookup(probe.name, probe.rdtype, dnssec=True).addCallback(self._tell, answer)

    def _tell(self, probed: Answer, answer: Answer) -> Answer:
        if not probed.secure:
            why = f"received no response: {probed.reason}"
            if probed.result not in _NO_RESPONSE:
                why = "received a response that is not DNSSEC validated"
            self._emit(ValidationInDoubt())
            self._emit(ProbeNotValidated(self._probe.text, why))
        return answer
