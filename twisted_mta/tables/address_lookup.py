"""The search for a mail address in tables: the whole address, without its extension, the local part, the domain.

Flow: what uses smtp_generic_maps, or senders in smtp_sasl_password_maps, has an `address_search` made once, and calls that.
Sources: generic(5), "TABLE SEARCH ORDER" and "ADDRESS EXTENSION"; postconf(5) recipient_delimiter, owner_request_special,
double_bounce_sender, mydestination, inet_interfaces, proxy_interfaces.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from twisted_mta.config.settings import Settings
from twisted_mta.model.address import quote_5322
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.match_list import MatchKind, MatchList
from twisted_mta.tables.networks import parse_address
from twisted_mta.tables.table_set import TableSet

_NEVER_SPLIT = frozenset({"postmaster", "mailer-daemon"})
_IPV6_PREFIX = "ipv6:"


@dataclass(frozen=True, slots=True)
class ExtensionRules:
    """Where a local part ends and its extension begins.

    Attributes:
        delimiters: recipient_delimiter: any of these characters begins an extension.
        owner_request_special: whether a hyphen does not split owner-NAME and NAME-request.
        double_bounce_sender: is never split, as are postmaster and mailer-daemon.
    """

    delimiters: str = ""
    owner_request_special: bool = True
    double_bounce_sender: str = "double-bounce"

    def split(self, local_part: str) -> tuple[str, str]:
        """Split a local part.

        Returns:
            The local part without its extension, and the extension with its delimiter; empty if there is none.
        """
        if not self.delimiters:
            return local_part, ""
        lowered = local_part.lower()
        if lowered in _NEVER_SPLIT or lowered == self.double_bounce_sender.lower():
            return local_part, ""
        if (
            "-" in self.delimiters
            and self.owner_request_special
            and (lowered.startswith("owner-") or lowered.endswith("-request"))
        ):
            return local_part, ""
        at = min((at for at in map(local_part.find, self.delimiters) if at >= 0), default=0)
        return (local_part[:at], local_part[at:]) if at > 0 else (local_part, "")


@dataclass(frozen=True, slots=True)
class LocalDomains:
    """Which domains are those of this machine: their addresses are found by the local part alone.

    Attributes:
        origin: myorigin.
        destinations: mydestination.
        is_own_address: whether an IP address is one of inet_interfaces and proxy_interfaces.
    """

    origin: str
    destinations: MatchList
    is_own_address: Callable[[str], bool]

    async def __call__(self, domain: str) -> bool:
        """Whether a domain, or an address in brackets, is this machine.

        Raises:
            TableError: a table of mydestination failed.
        """
        if domain.lower() == self.origin.lower():
            return True
        name = domain[:-1] if domain.endswith(".") and not domain.endswith("..") else domain
        if await self.destinations.matches(name):
            return True
        if not (name.startswith("[") and name.endswith("]")):
            return False
        literal = name[1:-1]
        address = literal[len(_IPV6_PREFIX) :] if literal.lower().startswith(_IPV6_PREFIX) else literal
        return parse_address(address) is not None and self.is_own_address(address)


@dataclass(frozen=True, slots=True)
class AddressFound:
    """What a table has for an address.

    Attributes:
        value: never empty.
        unmatched_extension: the extension, with its delimiter, if the table had the address without it; else empty.
    """

    value: str
    unmatched_extension: str = ""


async def find_address(
    maps: Maps,
    address: str,
    extensions: ExtensionRules,
    is_local: Callable[[str], Awaitable[bool]],
    *,
    plain_too: bool = False,
) -> AddressFound | None:
    """Search tables for an address. Waits for nothing where all tables answer at once.

    Args:
        maps: the tables.
        address: in internal form: without quotes.
        extensions: where its extension begins.
        is_local: whether a domain is one of this machine's.
        plain_too: whether each address is also looked up without the quotes that its local part needs.

    Returns:
        The first that is found; None if there is nothing.

    Raises:
        TableError: a table failed.
    """
    local_part, at, domain = address.rpartition("@")
    if not at:
        local_part, domain = address, ""
    domain_part = at + domain
    base, extension = extensions.split(local_part)

    whole_forms = _forms(local_part, plain_too)
    base_forms = _forms(base, plain_too) if extension else ()

    async def find(forms: Iterable[str], behind: str, *, part: bool = True) -> str | None:
        for form in forms:
            found = await maps.find(form + behind, part=part)
            if found is not None:
                return found
        return None

    found = await find(whole_forms, domain_part, part=False)
    if found is not None:
        return AddressFound(found)
    if extension and (found := await find(base_forms, domain_part)) is not None:
        return AddressFound(found, extension)
    if not at:
        return None
    if await is_local(domain):
        if (found := await find(whole_forms, "")) is not None:
            return AddressFound(found)
        if extension and (found := await find(base_forms, "")) is not None:
            return AddressFound(found, extension)
    found = await maps.find(domain_part, part=True)
    return None if found is None else AddressFound(found)


def address_search(
    settings: Settings, tables: TableSet, maps: Maps, is_own_address: Callable[[str], bool], *, plain_too: bool = False
) -> Callable[[str], Coroutine[Any, Any, AddressFound | None]]:
    """The search as settings want it.

    Args:
        settings: the parameters.
        tables: opens tables.
        maps: what is searched.
        is_own_address: whether an IP address is this machine's.
        plain_too: as for `find_address`.

    Returns:
        What looks an address up as `find_address` does.

    Raises:
        ConfigError: mydestination cannot be used.
    """
    extensions = ExtensionRules(
        settings.recipient_delimiter, settings.owner_request_special, settings.double_bounce_sender
    )
    destinations = tables.match_list("mydestination", settings.mydestination, MatchKind.STRING)
    is_local = LocalDomains(settings.myorigin, destinations, is_own_address)
    return lambda address: find_address(maps, address, extensions, is_local, plain_too=plain_too)


def _forms(local_part: str, plain_too: bool) -> tuple[str, ...]:
    """A local part as it is quoted, and as it is if that differs and is wanted."""
    # The local part alone may have an "@": only with a domain behind it is it clear where it ends.
    quoted = quote_5322(f"{local_part}@x")[:-2]
    return (quoted, local_part) if plain_too and quoted != local_part else (quoted,)
