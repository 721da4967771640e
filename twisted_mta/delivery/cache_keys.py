r"""Under which names kept sessions are found again.

A key is a text of fields in a fixed order, each ended by a line feed, as scache(8) has it. That text is not all that matters: a
session is lent only to a delivery that would have opened the same one. So the key of an endpoint also says what the text cannot
hold: the whole TLS policy with server name, certificates to match and TLSA records, our address, the name we say, and the login.

Flow: delivery/reuse.py makes keys; delivery/cache.py and postfix/scache.py find sessions by them.
Sources: scache(8), smtp(8); CONNECTION_CACHE_README; RFC 4648 section 4 (base64).
"""

import base64
from dataclasses import dataclass, field

from twisted_mta.model.text import to_wire
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import NO_TLS, TlsPolicy

_NOTHING = "*"


@dataclass(frozen=True, slots=True)
class DestinationKey:
    """The name of a destination: a session found by it may lead to any of its hosts.

    Attributes:
        text: the fields.
    """

    text: str


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """The name of a server's address, and of all that makes two sessions with it the same.

    Attributes:
        text: the fields.
        policy: what was demanded of TLS.
        source: our address; empty: the system chooses.
        hello_name: what EHLO says.
        login: who is, or would be, logged in; None: nobody.
    """

    text: str
    policy: TlsPolicy = NO_TLS
    source: str = ""
    hello_name: str = ""
    login: Credentials | None = None

    def __hash__(self) -> int:
        """That of the text, which Python remembers; that of a policy would be computed every time."""
        return hash(self.text)


@dataclass(frozen=True, slots=True)
class KeyFields:
    """Which fields the text has, besides those that it always has; they differ between versions of Postfix.

    Attributes:
        service: the name of another service, whose sessions are shared; empty: ours.
        level_of_destination: whether the TLS level is one, in the key of a destination. It hides sessions with TLS: they are
            saved with their level, and looked up with none.
        requiretls: whether the need for REQUIRETLS is one; there is none here.
        smtputf8: whether the need for SMTPUTF8 is one.
    """

    service: str = ""
    level_of_destination: bool = True
    requiretls: bool = False
    smtputf8: bool = True


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What settings change in keys.

    Attributes:
        service: the name of the service, as in master.cf.
        hello_name: what EHLO says.
        by_login: whether there are passwords (smtp_sasl_password_maps): they may differ from host to host.
        by_sender: whether they may differ from sender to sender, too (smtp_sender_dependent_authentication).
        sources: our address for each family, where one is set or implied.
        fields: which fields there are.
    """

    service: str
    hello_name: str = ""
    by_login: bool = False
    by_sender: bool = False
    sources: dict[Family, str] = field(default_factory=dict)
    fields: KeyFields = KeyFields()

    def destination(self, sender: str, nexthop: str, *, utf8: bool, level: Level = Level.NONE) -> DestinationKey:
        """The key of a destination.

        Args:
            sender: the envelope sender.
            nexthop: the destination of the request, with brackets and port.
            utf8: whether the message needs SMTPUTF8.
            level: of TLS; none for a look-up, when it is not known yet.
        """
        fields = [self.fields.service or self.service]
        if self.by_sender:
            fields.append(sender)
        fields.append(nexthop)
        if self.fields.level_of_destination:
            fields.append(str(level.value))
        return DestinationKey(self._joined(fields, utf8=utf8))

    def endpoint(
        self,
        sender: str,
        site: str,
        candidate: Candidate,
        policy: TlsPolicy = NO_TLS,
        *,
        utf8: bool,
        login: Credentials | None = None,
    ) -> EndpointKey:
        """The key of a server's address.

        Args:
            sender: the envelope sender.
            site: the destination that led there, with brackets and port; a fallback relay is one of its own.
            candidate: the server.
            policy: what is demanded of TLS.
            utf8: whether the message needs SMTPUTF8.
            login: who is, or would be, logged in; None: nobody.
        """
        fields = [self.fields.service or self.service]
        if self.by_sender:
            fields.append(sender)
        if self.by_login or policy.level.must_match:
            fields.append(site)
        if self.by_login:
            fields.append(candidate.host)
        fields += (candidate.address, str(candidate.port), str(policy.level.value))
        source = self.sources.get(candidate.family, "")
        return EndpointKey(self._joined(fields, utf8=utf8), policy, source, self.hello_name, login)

    def _joined(self, fields: list[str], *, utf8: bool) -> str:
        if self.fields.requiretls:
            fields.append("0")
        if self.fields.smtputf8:
            fields.append("1" if utf8 else "0")
        text = "\n".join(fields)
        if "" in fields or _NOTHING in text or text.count("\n") >= len(fields):
            text = "\n".join(map(_escaped, fields))
        return f"{text}\n"


def _escaped(field_text: str) -> str:
    """A field that can be told from others: what would end it, or mean nothing, is written in base64."""
    if not field_text:
        return _NOTHING
    if _NOTHING in field_text or "\n" in field_text:
        return base64.b64encode(to_wire(field_text)).decode("ascii")
    return field_text
