"""Replace addresses as generic(5) tables say: those of the envelope, and those in primary headers.

A header in which no address was found stays as it is, to the byte. One in which some were is written anew.

Flow: pipeline.py passes primary headers through `rewrite_header`; delivery/ maps the envelope with `replacement_for`.
Sources: generic(5); postconf(5) smtp_generic_maps, propagate_unmatched_extensions; RFC 5322 section 3.6; a running smtp(8).
"""

from dataclasses import dataclass
from typing import NoReturn

from twisted_mta.content.address_list import Address, Node, parse, quoted, write
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.lookups import Asked, Core, Lookup, Replacement
from twisted_mta.interfaces import TableError
from twisted_mta.model.address import unquote_5322
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import CommentsStripped, Emit, MappingFailed, MappingMultiValued, MappingNotAnAddress
from twisted_mta.model.text import first_octets, to_text, to_wire

ADDRESS_HEADERS = frozenset(
    b"apparently-to bcc cc disposition-notification-to errors-to from mail-followup-to reply-to resent-bcc resent-cc"
    b" resent-from resent-reply-to resent-sender resent-to return-path return-receipt-to sender to".split()
)
"""The headers, in lower case, whose addresses are replaced."""

_LINE_OCTETS = 70
_SHOWN_OCTETS = 100


@dataclass(frozen=True, slots=True)
class GenericRules:
    """How addresses are replaced.

    Attributes:
        parameter: the name of smtp_generic_maps, for the log.
        keep_extension: whether an extension that a table did not have is put behind the local part that it has.
    """

    parameter: str = "smtp_generic_maps"
    keep_extension: bool = False


class GenericMapper:
    """Replaces the addresses of one message."""

    def __init__(self, rules: GenericRules, queue_id: str, emit: Emit) -> None:
        """Prepare.

        Args:
            rules: how.
            queue_id: for the log.
            emit: takes what is to be logged.
        """
        self._rules = rules
        self._queue_id = queue_id
        self._emit = emit

    def replacement_for(self, address: str) -> Core[str | None]:
        """Look for an address.

        Args:
            address: in internal form.

        Returns:
            What takes its place, in internal form; None if the tables do not have it.

        Raises:
            ContentFailedError: a table failed, what it has is no address, or that cannot be completed.
        """
        try:
            found: Replacement | None = yield Lookup(Asked.GENERIC, address)
            if found is None:
                return None
            new = self._first_address(address, found)
            if new is None:
                self._fail(address)
            canonical = unquote_5322((yield Lookup(Asked.REWRITE, quoted(new))))
        except TableError:
            self._fail(address)
        return _with_extension(canonical, found.extension) if self._rules.keep_extension else canonical

    def _first_address(self, address: str, found: Replacement) -> str | None:
        parameter = self._rules.parameter
        if found.value.startswith("@"):
            local_part = address.rpartition("@")[0] if "@" in address else address
            return local_part.removesuffix(found.extension) + found.value
        addresses = [node.text for node in parse(found.value) if isinstance(node, Address)]
        if not addresses:
            self._emit(MappingNotAnAddress(parameter, address, found.value))
            return None
        if len(addresses) > 1:
            self._emit(MappingMultiValued(parameter, address))
        return addresses[0]

    def _fail(self, address: str) -> NoReturn:
        parameter = self._rules.parameter
        self._emit(MappingFailed(self._queue_id, parameter, address))
        raise ContentFailedError(DsnStatus("4.3.0", f"{parameter} map lookup problem for {address}"))

    def rewrite_header(self, text: bytes) -> Core[bytes]:
        """Replace the addresses in a header.

        Args:
            text: all of it; its lines are joined by LF.

        Returns:
            The text, or a new one.

        Raises:
            ContentFailedError: as `replacement_for`.
        """
        name, _, value = text.partition(b":")
        nodes: list[Node] = []
        is_new = False
        for node in parse(to_text(value)):
            if isinstance(node, Address) and not node.is_null:
                new = yield from self.replacement_for(node.text)
                if new is not None:
                    node = Address(new)
                    is_new = True
            nodes.append(node)
        if not is_new:
            return text
        written = write(nodes)
        for element in written.stripped:
            self._emit(CommentsStripped(first_octets(element, _SHOWN_OCTETS)))
        return _folded(name.rstrip() + b": " + to_wire(written.text))


def _with_extension(address: str, extension: str) -> str:
    local_part, at, domain = address.rpartition("@")
    return f"{local_part}{extension}{at}{domain}" if at else address + extension


def _folded(header: bytes) -> bytes:
    """Join lines as long as they stay short; the others become continuation lines."""
    lines: list[bytes] = []
    first, *others = header.split(b"\n")
    line = first
    for other in others:
        if len(line) + 1 + len(other) < _LINE_OCTETS:
            line += b" " + other
        else:
            lines.append(line)
            line = b"\t" + other
    lines.append(line)
    return b"\n".join(lines)
