"""Make addresses canonical: those that a table has may lack a domain, or a part of it.

Under Postfix trivial-rewrite(8) does it, by its own settings; without Postfix a rule that is as simple as its defaults.
Flow: assembly.py hands one of the two to the rules of content; generic maps ask it for what they have found.
Sources: trivial-rewrite(8), ADDRESS_REWRITING_README; postconf(5) rewrite_service_name, append_at_myorigin, append_dot_mydomain;
a running trivial-rewrite(8).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_mta.interfaces import TableError
from twisted_mta.ipc.attributes import AttributeList, encode, expect, read_int, read_texts
from twisted_mta.ipc.client import PersistentClient, ServiceError
from twisted_mta.model.events import Emit

RULES = "local"
"""Which of its two sets of rules trivial-rewrite(8) applies: that for addresses of this site."""

REMEMBERED = 100
"""So many answers are kept: the addresses of a site's own users come again and again."""

REMEMBERED_SECONDS = 30.0

_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
_REPLY = (b"flags", b"address")


@dataclass(frozen=True, slots=True)
class _Answer:
    address: str
    until: float


class RewriteService:
    """trivial-rewrite(8); call it with an address."""

    def __init__(self, name: str, client: PersistentClient, clock: IReactorTime, emit: Emit) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: of its socket, as ``private/rewrite``.
            client: asks it, over a connection that is kept.
            clock: for pauses, and for the age of answers.
            emit: takes events.
        """
        self._name = name
        self._client = client
        self._clock = clock
        self._emit = emit
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._flags = 0

    def __call__(self, address: str) -> str | Deferred[str]:
        """Make an address canonical.

        Args:
            address: in quoted form.

        Returns:
            The canonical address in quoted form, at once if it is remembered; the Deferred fails with TableError if the
            service cannot be asked, which has been tried several times then.
        """
        known = self._answers.get(address)
        if known is not None and known.until > self._clock.seconds():
            return known.address
        return Deferred.fromCoroutine(self._ask(address))

    async def _ask(self, address: str) -> str:
        request = encode((("request", "rewrite"), ("rule", RULES), ("address", address)))
        for attempt in range(_ATTEMPTS):
            if attempt:
                await deferLater(self._clock, _PAUSE_SECONDS)
            try:
                flags, canonical = await self._client.ask(request, _read)
            except ServiceError as error:
                self._emit(error.event)
                problem = error.problem
            else:
                self._remember(address, flags, canonical)
                return canonical
        raise TableError(self._name, problem, address)

    def _remember(self, address: str, flags: int, canonical: str) -> None:
        if flags != self._flags:
            # The service has another configuration than before.
            self._answers.clear()
            self._flags = flags
        self._answers[address] = _Answer(canonical, self._clock.seconds() + REMEMBERED_SECONDS)
        self._answers.move_to_end(address)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def _read(reply: AttributeList) -> tuple[int, str]:
    flags, address = expect(reply, _REPLY)
    return read_int(flags, "flags"), read_texts((address,))[0]


def complete_locally(origin: str, parent_domain: str = "") -> Callable[[str], str]:
    """What takes the place of trivial-rewrite(8) where there is none.

    Args:
        origin: is appended to an address without a domain (append_at_myorigin).
        parent_domain: is appended to a domain of one label (append_dot_mydomain); empty: nothing is.

    Returns:
        Makes an address canonical, in quoted form both before and after.
    """

    def complete(address: str) -> str:
        local_part, at, domain = address.rpartition("@")
        if not at or domain.endswith('"'):
            local_part, domain = address, ""
        domain = domain.removesuffix(".")
        if not domain:
            return f"{local_part}@{origin}"
        if parent_domain and "." not in domain and not domain.startswith("["):
            domain = f"{domain}.{parent_domain}"
        return f"{local_part}@{domain}"

    return complete
