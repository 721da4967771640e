"""Names and passwords, as tables have them.

They are looked up by the sender, if that is wanted, then by the name of the server, then by the destination as it is configured;
the first that is found counts.

Flow: session/login.py asks before a login; delivery/ asks whether a server would get a password at all.
Sources: postconf(5) smtp_sasl_password_maps, smtp_sasl_password_result_delimiter, smtp_sender_dependent_authentication.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted_mta.model.login import Secret
from twisted_mta.tables.address_lookup import AddressFound
from twisted_mta.tables.maps import Maps

_UNSPEAKABLE = frozenset("\0\r\n")

SenderSearch = Callable[[str], Awaitable[AddressFound | None]]
"""Looks a sender up, in the forms that tables may have; raises TableError."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a server.

    Attributes:
        user: the name.
        password: what stands behind it: a password, or a reference to an OAuth2 account.
    """

    user: str
    password: Secret

    @property
    def is_speakable(self) -> bool:
        """Whether no line break or null character is in them: these would end what is said, or change its meaning."""
        return not _UNSPEAKABLE & set(self.user + self.password.reveal())


@dataclass(frozen=True, slots=True)
class CredentialTables:
    """Where credentials are.

    Attributes:
        maps: the tables.
        delimiter: the character behind the name.
        find_sender: looks a sender up; None: senders do not matter.
    """

    maps: Maps
    delimiter: str = ":"
    find_sender: SenderSearch | None = None

    async def find(self, sender: str, host: str, destination: str) -> Credentials | None:
        """Look up the credentials for a server. Waits for nothing where all tables answer at once.

        Args:
            sender: of the message, in internal form; empty: the null sender, which has no credentials of its own.
            host: the server's name.
            destination: as it is configured, with brackets and port where it has them.

        Returns:
            The credentials; None: there are none, and no login is wanted.

        Raises:
            TableError: a table failed.
        """
        found: str | None = None
        if self.find_sender is not None and sender:
            by_sender = await self.find_sender(sender)
            found = None if by_sender is None else by_sender.value
        if found is None:
            found = await self.maps.find(host)
        if found is None and destination != host:
            found = await self.maps.find(destination)
        if found is None:
            return None
        user, _, password = found.partition(self.delimiter)
        return Credentials(user, Secret(password))
