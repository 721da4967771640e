"""Tell flush(8) which mail waits for a domain, so that ETRN and ``postqueue -s`` find it.

Flow: postfix/reporter.py adds each recipient that was deferred; what becomes of that never changes a delivery.
Sources: flush(8); postconf(5) fast_flush_domains, parent_domain_matches_subdomains, flush_service_name.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import TableError
from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import ServiceClient, ServiceError, read_status
from twisted_mta.model.address import domain_of
from twisted_mta.model.events import Emit, ServiceFailed

_DONE, _NOT_FOR_THIS_DOMAIN = 0, 4

DomainMatch = Callable[[str], bool | Deferred[bool]]
"""Whether a domain is in a list; raises TableError, which has been told."""


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
        if not domain:
            return
        request = encode((("request", "add"), ("site", domain), ("queue_id", queue_id)))
        try:
            found = self._matches(domain)
            if not (await found if isinstance(found, Deferred) else found):
                return
            if await self._client.ask(request, read_status) in (_DONE, _NOT_FOR_THIS_DOMAIN):
                return
        except TableError:
            pass
        except ServiceError as error:
            self._emit(error.event)
        self._emit(ServiceFailed(queue_id, self._name))
