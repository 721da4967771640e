"""The tables that a session asks: about replies, and about the server it talks to.

Flow: assembly.py opens them; delivery/factory.py gives them to each connection, session/performing.py asks them for the dialogs.
Sources: postconf(5) smtp_reply_filter, smtp_discard_ehlo_keyword_address_maps, smtp_pix_workaround_maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.smtp.actions import LookUp, PeerTable
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.opening import EXACT, FOLDED
from twisted_mta.tables.table_set import TableSet


@dataclass(frozen=True, slots=True)
class SessionTables:
    """The tables of one configuration.

    Attributes:
        reply_filter: may replace a line of a reply; None: lines are taken as they come.
        about_peers: what is asked by the server's address.
    """

    reply_filter: ILookupTable | None = None
    about_peers: Mapping[PeerTable, Maps] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings, tables: TableSet) -> "SessionTables":
        """Open what settings name.

        Raises:
            ConfigError: a table cannot be used.
        """
        parameter, spec = settings.parameter_name("smtp_reply_filter"), settings.smtp_reply_filter
        about_peers = {
            table: tables.maps(settings.parameter_name(table.value), items, EXACT)
            for table in PeerTable
            if (items := getattr(settings, table.value))
        }
        return cls(tables.named(parameter, spec, FOLDED) if spec else None, about_peers)

    def answer(self, question: LookUp) -> Deferred[None] | None:
        """Answer what a dialog asks.

        Returns:
            None if that is done, else a Deferred that fires when it is.
        """
        maps = self.about_peers.get(question.table)
        if maps is None:
            return None
        try:
            found = maps.lookup(question.key)
        except TableError:
            question.failed = True
            return None
        if not isinstance(found, Deferred):
            question.found = found
            return None
        return Deferred.fromCoroutine(_answer_later(question, found))


NO_TABLES = SessionTables()
"""Nothing is asked."""


async def _answer_later(question: LookUp, found: Deferred[str | None]) -> None:
    try:
        question.found = await found
    except TableError:
        question.failed = True
