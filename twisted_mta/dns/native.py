"""Look host names up as the system does, hosts file and all: getaddrinfo in a thread.

Flow: routing/ asks where smtp_host_lookup has ``native``; what comes back is addresses or the error of getaddrinfo.
Sources: getaddrinfo(3), gai_strerror(3); postconf(5) smtp_host_lookup.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from twisted_mta.model.events import AddressFamilySkipped, Emit
from twisted_mta.model.text import to_wire

_EAI_NAMES = {number: name for name, number in vars(socket).items() if name.startswith("EAI_")}

RunInThread = Callable[..., Deferred[Any]]
"""Calls a function with arguments in a thread, as `deferToThreadPool` bound to a reactor and its pool does."""

GetAddrInfo = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class NativeAddresses:
    """What the system knows of a host.

    Attributes:
        addresses: of the families asked for, in the system's order, each once; may be empty.
    """

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NativeFailure:
    """Why the system has no address.

    Attributes:
        name: the name of the error, e.g. ``EAI_NONAME``.
        text: the words of gai_strerror(3), e.g. ``Name or service not known``.
    """

    name: str
    text: str


class NativeResolver:
    """Asks the system for the addresses of hosts.

    Args:
        run_in_thread: where to wait for it.
        emit: is told of addresses that are left out.
        getaddrinfo: the system's, or one that behaves like it.
    """

    def __init__(self, run_in_thread: RunInThread, emit: Emit, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._run_in_thread = run_in_thread
        self._emit = emit
        self._getaddrinfo = getaddrinfo

    def lookup(self, host: str, families: Sequence[socket.AddressFamily]) -> Deferred[NativeAddresses | NativeFailure]:
        """Ask for the addresses of a host.

        Args:
            host: its name, in A-label form.
            families: AF_INET, AF_INET6 or both.

        Returns:
            Fires with what the system says; does not fail. When it is cancelled the thread goes on, unheard.
        """
        asked = self._run_in_thread(_ask_system, self._getaddrinfo, host, families)
        return asked.addCallback(self._select, host, families)

    def _select(
        self,
        outcome: list[tuple[Any, ...]] | NativeFailure,
        host: str,
        families: Sequence[socket.AddressFamily],
    ) -> NativeAddresses | NativeFailure:
        if isinstance(outcome, NativeFailure):
            return outcome
        addresses: dict[str, None] = {}
        for family, _, _, _, socket_address in outcome:
            if family in families:
                addresses[socket_address[0]] = None
            else:
                self._emit(AddressFamilySkipped(int(family), host))
        return NativeAddresses(tuple(addresses))


def _ask_system(
    getaddrinfo: GetAddrInfo, host: str, families: Sequence[socket.AddressFamily]
) -> list[tuple[Any, ...]] | NativeFailure:
    """Runs in a thread."""
    family = families[0] if len(families) == 1 else socket.AF_UNSPEC
    try:
        # As bytes: Python would convert text to A-labels after a fashion of its own.
        return getaddrinfo(to_wire(host), None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        number = error.errno if error.errno is not None else socket.EAI_FAIL
        return NativeFailure(_EAI_NAMES.get(number, f"EAI {number}"), error.strerror or str(error))
    except OSError as error:
        return NativeFailure("EAI_SYSTEM", error.strerror or "System error")
    except ValueError:  # a NUL inside
        return NativeFailure("EAI_NONAME", "Name or service not known")
