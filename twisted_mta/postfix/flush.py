"""Tell flush(8) which mail waits for a domain, so that ETRN and ``postqueue -s`` find it.

Flow: postfix/reporter.py adds each recipient that was deferred; what becomes of that never changes a delivery.
Sources: flush(8); postconf(5) fast_flush_domains, parent_domain_matches_subdomains, flush_service_name.
"""

from collections.abc import Callable, Iterable

from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import ServiceClient, ServiceError, read_status
from twisted_mta.model.address import domain_of
from twisted_mta.model.events import ConfigurationProblem, Emit, ServiceFailed

_DONE, _NOT_FOR_THIS_DOMAIN = 0, 4

DomainMatch = Callable[[str], bool]
"""Whether a domain is in a list."""


class FlushService:
    """flush(8).

    Args:
        name: flush_service_name.
        client: asks it.
        matches: whether a domain is in fast_flush_domains.
        emit: takes events.
    """

    def __init__(self, name: str, client: ServiceClient, matches: DomainMatch, emit: Emit) -> None:
        self._name = name
        self._client = client
        self._matches = matches
        self._emit = emit

    async def add(self, recipient_address: str, queue_id: str) -> None:
        """Remember that a message waits for the domain of a recipient, if that domain is in the list."""
        domain = domain_of(recipient_address)
        if not domain or not self._matches(domain):
            return
        request = encode((("request", "add"), ("site", domain), ("queue_id", queue_id)))
        try:
            if await self._client.ask(request, read_status) in (_DONE, _NOT_FOR_THIS_DOMAIN):
                return
        except ServiceError as error:
            self._emit(error.event)
        self._emit(ServiceFailed(queue_id, self._name))


def literal_domains(items: Iterable[str], *, parents_match: bool, parameter: str, emit: Emit) -> DomainMatch:
    """A list of domain names.

    Args:
        items: ``example.com``, or ``!example.com`` for one that is not in the list: the first item that fits decides.
        parents_match: whether the parameter is named in parent_domain_matches_subdomains: then ``example.com`` stands for
            its subdomains too, for which ``.example.com`` is needed otherwise.
        parameter: the name of the parameter.
        emit: takes a ConfigurationProblem for each item that is a file or a table: these are left out.
    """
    listed: dict[str, tuple[int, bool]] = {}
    for number, item in enumerate(items):
        pattern = item.lstrip("!").lower()
        if pattern.startswith("/") or (":" in pattern and not pattern.startswith("[")):
            emit(
                ConfigurationProblem(f"{parameter}: {item}: files and tables are not supported here and match nothing")
            )
            continue
        negated = (len(item) - len(item.lstrip("!"))) % 2 == 1
        listed.setdefault(pattern, (number, not negated))
    dot = "" if parents_match else "."

    def matches(domain: str) -> bool:
        name = domain.lower()
        labels = name.split(".")
        names = [name, *(dot + ".".join(labels[first:]) for first in range(1, len(labels)))]
        found = [listed[name] for name in names if name in listed]
        return min(found)[1] if found else False

    return matches
