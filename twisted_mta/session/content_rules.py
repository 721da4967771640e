"""How content is treated on its way out, and the tables that are asked about it.

Flow: assembly.py makes one for a configuration; session/performing.py sends content by it, delivery/outgoing.py maps envelopes.
Sources: postconf(5) smtp_header_checks, smtp_mime_header_checks, smtp_nested_header_checks, smtp_body_checks,
smtp_generic_maps, mydestination, inet_interfaces, proxy_interfaces.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from twisted_mta.config.settings import Settings
from twisted_mta.content.lookups import CHECKS, Asked, Replacement
from twisted_mta.content.pipeline import Pipeline
from twisted_mta.content.settings import ContentSettings
from twisted_mta.model.events import Emit
from twisted_mta.session.answering import Answering, Answers
from twisted_mta.tables.address_lookup import address_search
from twisted_mta.tables.answer import answer
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.opening import EXACT
from twisted_mta.tables.table_set import TableSet

Rewrite = Callable[[str], str | Deferred[str]]
"""Gives the canonical form of an address in quoted form, or a Deferred of it; raises TableError, or fails with it."""


@dataclass(frozen=True, slots=True)
class ContentRules:
    """The rules of one configuration.

    Attributes:
        settings: what is to be done.
        answers: the tables, and who makes addresses canonical.
    """

    settings: ContentSettings = field(default_factory=ContentSettings)
    answers: Answers = field(default_factory=dict)

    @classmethod
    def from_settings(
        cls, settings: Settings, tables: TableSet, is_own_address: Callable[[str], bool], rewrite: Rewrite
    ) -> "ContentRules":
        """Open what settings name.

        Args:
            settings: the parameters.
            tables: opens tables.
            is_own_address: whether an IP address is this machine's.
            rewrite: makes addresses canonical.

        Raises:
            ConfigError: a table cannot be used.
        """
        rules = ContentSettings.from_settings(settings)
        answers: dict[Asked, Callable[[str], Any]] = {
            asked: tables.maps(rules.parameters[asked], getattr(settings, asked.value), EXACT).lookup
            for asked in CHECKS
            if asked in rules.parameters
        }
        if rules.maps_addresses:
            maps = tables.maps(rules.parameters[Asked.GENERIC], settings.smtp_generic_maps)
            answers[Asked.GENERIC] = _address_search(settings, tables, maps, is_own_address)
            answers[Asked.REWRITE] = rewrite
        return cls(rules, answers)

    def treat(
        self, chunks: Iterator[bytes], queue_id: str, emit: Emit, *, convert: bool
    ) -> Iterator[bytes | Deferred[Any]]:
        """Content as it is to be sent; as it is, if there is nothing to do.

        Args:
            chunks: of an IMessageContent.
            queue_id: for the log.
            emit: takes what is to be logged.
            convert: whether the server takes 7bit only.

        Returns:
            Chunks of the same kind, with Deferreds to be waited for (see Answering).
        """
        if not convert and not self.settings.parameters:
            return chunks
        return Answering(Pipeline(self.settings, queue_id, emit, convert=convert).run(chunks), self.answers)


PLAIN = ContentRules()
"""Nothing is done but the conversion for servers that need it."""


def _address_search(
    settings: Settings, tables: TableSet, maps: Maps, is_own_address: Callable[[str], bool]
) -> Callable[[str], Any]:
    search = address_search(settings, tables, maps, is_own_address)

    async def find(address: str) -> Replacement | None:
        found = await search(address)
        return None if found is None else Replacement(found.value, found.unmatched_extension)

    return lambda address: answer(find(address))
