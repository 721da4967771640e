"""Whether a certificate has a name that is demanded.

Flow: tls/demands.py makes References of the words of a policy; tls/verification.py matches them with the server's certificate.
Sources: RFC 6125 section 6.4 as X509_check_host(3) of OpenSSL carries it out with X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
RFC 5280 section 4.2.1.6; postconf(5) smtp_tls_verify_cert_match, smtp_tls_policy_maps.

The rules, where they are not those of RFC 6125 alone:
- DNS names of the certificate count; common names only where it has not a single DNS name.
- A demanded ``.domain`` is matched by each name that ends in it: ``a.domain``, ``a.b.domain``, ``*.domain``, ``.domain`` itself.
- A wildcard is a whole label, the first one, above two others at least; it stands for one label.
- Where both names and an address are demanded, one of the names and the address must match.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from twisted_mta.dns.idna import DomainNameError, to_a_labels
from twisted_mta.model.events import DomainNotConverted, Emit
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.model.tls_events import MatchNameIgnored, MatchNameRefused
from twisted_mta.tls.certificates import COMMON_NAME, AlternativeNames, Certificate

_DOTS = "\u3002\uff0e\uff61"  # what takes the place of a dot where people write with ideographs
_WILDCARD = re.compile(rb"\*((?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?){2,})", re.IGNORECASE)
_ONE_LABEL = re.compile(rb"[a-z0-9-]+|\*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class References:
    """What a certificate has to say of its owner.

    Attributes:
        names: DNS names in A-labels, in lower case; ``.domain`` stands for all names below it. One of them must match.
        address: 4 or 16 octets that must match too; empty: none.
    """

    names: tuple[bytes, ...] = ()
    address: bytes = b""

    def __bool__(self) -> bool:
        """Whether anything is demanded."""
        return bool(self.names or self.address)


NO_REFERENCES = References()
"""Any name will do."""


@dataclass(frozen=True, slots=True)
class Match:
    """What came of the comparison.

    Attributes:
        names: whether there was no name to match, or one did.
        address: whether there was no address to match, or it did.
        peername: the name of the certificate that matched; empty: none did.
    """

    names: bool
    address: bool
    peername: str = ""


def names_meant(words: Iterable[str], host: str, nexthop: str) -> tuple[str, ...]:
    """The elements of a match list, the words hostname, nexthop and dot-nexthop replaced by what they stand for.

    Args:
        words: in any case.
        host: the server's name.
        nexthop: the domain of the destination.
    """
    meant = {"hostname": host, "nexthop": nexthop, "dot-nexthop": "." + nexthop}
    return tuple(meant.get(word.lower(), word) for word in words)


def references_of(names: Iterable[str], server: str, emit: Emit, *, transitional: bool = False) -> References:
    """Make references of names.

    Args:
        names: names, ``.domain``, or an address; also outside of ASCII.
        server: as lines have it.
        emit: told of those that cannot be used.
        transitional: enable_idna2003_compatibility.
    """
    wire_names: list[bytes] = []
    address = b""
    for name in names:
        if found := _address(name):
            if address:
                emit(MatchNameRefused(server, name))
            address = address or found
            continue
        dot, rest = ("." if name[:1] in {".", *_DOTS} else ""), name
        if dot:
            rest = name[1:]
        if not rest or "\0" in rest:
            emit(MatchNameIgnored(server, name))
            continue
        try:
            rest = to_a_labels(rest, transitional)
        except DomainNameError as error:
            emit(DomainNotConverted(rest, str(error)))
        wire_names.append(to_wire(dot + rest).lower())
    return References(tuple(dict.fromkeys(wire_names)), address)


def match_names(certificate: Certificate, references: References) -> Match:
    """Compare what a certificate presents with what is demanded; the first name that matches the first reference is told."""
    alternative = certificate.alternative_names
    peername = _first_match(presented_names(certificate, alternative), references.names)
    return Match(
        names=peername is not None or not references.names,
        address=not references.address or (alternative is not None and references.address in alternative.addresses),
        peername=to_text(peername or b""),
    )


def presented_names(certificate: Certificate, alternative: AlternativeNames | None) -> tuple[bytes, ...]:
    """The names that a certificate has for its owner: its DNS names, or without any its common names.

    Args:
        certificate: it.
        alternative: its subjectAltName.
    """
    if alternative is not None and (alternative.dns_names or alternative.damaged):
        return alternative.dns_names
    common = (attribute.text for attribute in certificate.subject if attribute.kind == COMMON_NAME)
    return tuple(text.encode("utf-8", "surrogatepass") for text in common if text is not None)


def _first_match(presented: tuple[bytes, ...], references: tuple[bytes, ...]) -> bytes | None:
    pairs = ((name, reference) for reference in references for name in presented)
    return next((name for name, reference in pairs if name_matches(name, reference)), None)


def name_matches(presented: bytes, reference: bytes) -> bool:
    """Whether a name of a certificate is what is demanded.

    Args:
        presented: as it stands there; may hold anything.
        reference: in lower case; a dot in front stands for all names below it.
    """
    below = len(reference) > 1 and reference.startswith(b".")
    if below and len(presented) > len(reference):
        head, presented = presented[: -len(reference)], presented[-len(reference) :]
        return b"\0" not in head and presented.lower() == reference
    if not below and (wildcard := _WILDCARD.fullmatch(presented)):
        rest = wildcard[1].lower()
        return reference.endswith(rest) and _ONE_LABEL.fullmatch(reference[: -len(rest)]) is not None
    return presented.lower() == reference


def _address(name: str) -> bytes:
    try:
        return ipaddress.ip_address(name).packed
    except ValueError:
        return b""
