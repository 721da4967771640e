"""What was seen of a host's TLS, as JSON or as text.

Flow: cli/tls.py fills a Finding for each host, and shows it.
Sources: posttls-finger(1).
"""

import base64
import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from twisted_mta.model.text import printable
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.state import TlsState


@dataclass(slots=True)
class Finding:
    """What was seen of one host.

    Attributes:
        relay: ``host[address]:port``.
        policy: what is demanded: level, protocols, ciphers, matches, servername, associations.
        tls: what is in force: protocol, cipher, bits, trusted, matched, secured; None: no TLS.
        certificates: as the server showed them, its own first.
        would_deliver: whether a delivery would go on to send mail.
        problem: why not; empty if it would.
        resumed: whether the session of TLS was taken up by a second connection; None: that was not tried.
        dialog: what was said, inside TLS, too; our lines begin with ``>``, the server's with ``<``.
        log: what a delivery would have logged.
    """

    relay: str
    policy: dict[str, Any] = field(default_factory=dict)
    tls: dict[str, Any] | None = None
    certificates: list[dict[str, Any]] = field(default_factory=list)
    would_deliver: bool = False
    problem: str = ""
    resumed: bool | None = None
    dialog: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


LONGEST_DIALOG = 500
"""Lines of a dialog; the rest is left out."""


class Dialog:
    """Writes a dialog down (see `Listener`)."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def said(self, command: str) -> None:
        """We."""
        self._add("> " + command)

    def heard(self, line: str) -> None:
        """The server."""
        self._add("< " + line)

    def replaced(self, line: str) -> None:
        """The reply filter."""
        self._add("< (replaced by) " + line)

    def dropped(self, line: str) -> None:
        """The server said too much."""

    def _add(self, line: str) -> None:
        if len(self._lines) < LONGEST_DIALOG:
            self._lines.append(line)


def pem(der: bytes) -> str:
    """A certificate, as files have it."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])


def shown_policy(policy: TlsPolicy) -> dict[str, Any]:
    """A policy, in the words of main.cf."""
    return {
        "level": policy.level.word,
        "protocols": policy.protocols,
        "ciphers": policy.grade,
        "exclude": policy.exclusions,
        "match": list(policy.matches or policy.dane_names),
        "servername": policy.servername,
        "trust_anchors": len(policy.trust_anchors) // 2,
        "tlsa": [f"{a.usage} {a.selector} {a.matching_type} {a.data.hex().upper()}" for a in policy.associations],
    }


def shown_state(state: TlsState) -> dict[str, Any]:
    """What is in force."""
    shown = asdict(state)
    shown["level"] = state.level.word
    shown["details"] = state.details.strip()
    return shown


def as_json(finding: Finding) -> Iterator[str]:
    """One object on a line."""
    yield json.dumps(asdict(finding))


def as_text(finding: Finding, *, with_dialog: bool = False) -> Iterator[str]:
    """Lines for people; the first one names the host."""
    yield printable(finding.relay)
    for word, value in _rows(finding):
        for line in value.split("\n"):
            yield printable(f"    {word}: {line}" if word else f"    {line}")
            word = ""
    for line in finding.dialog if with_dialog else ():
        yield printable(f"    dialog: {line}")
    for line in finding.log:
        yield f"    log: {line}"


def _rows(finding: Finding) -> Iterator[tuple[str, str]]:
    for word, value in finding.policy.items():
        if isinstance(value, list):
            yield from ((f"policy {word}", str(each)) for each in value)
        elif value:
            yield f"policy {word}", str(value)
    if finding.tls is not None:
        tls = finding.tls
        yield (
            "tls",
            f"{tls['protocol']} with {tls['cipher']} ({tls['used_bits']}/{tls['cipher_bits']} bits) {tls['details']}".rstrip(),
        )
        yield "trusted", "yes" if tls["trusted"] else "no"
        yield "matched", "yes" if tls["matched"] else "no"
    elif finding.policy:
        yield "tls", "none"
    for depth, certificate in enumerate(finding.certificates):
        for word, value in certificate.items():
            yield f"certificate {depth} {word}", ", ".join(value) if isinstance(value, list) else value
    if finding.resumed is not None:
        yield "session", "taken up again" if finding.resumed else "not taken up again"
    yield "verdict", "mail would be sent" if finding.would_deliver else f"no mail would be sent: {finding.problem}"
