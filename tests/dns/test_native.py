"""Tests of twisted_mta.dns.native."""

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns.native import NativeAddresses, NativeFailure, NativeResolver
from twisted_mta.model.events import AddressFamilySkipped, Event

BOTH = (socket.AF_INET, socket.AF_INET6)


def entry(family: int, address: str) -> tuple[Any, ...]:
    """An entry as getaddrinfo gives it."""
    return (family, socket.SOCK_STREAM, 6, "", (address, 0))


class NativeTests(SynchronousTestCase):
    """What the system knows of hosts."""

    def setUp(self) -> None:
        """A system that knows nothing yet."""
        self.events: list[Event] = []
        self.asked: list[tuple[Any, ...]] = []
        self.entries: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.resolver = NativeResolver(maybeDeferred, self.events.append, self.getaddrinfo)

    def getaddrinfo(self, *arguments: Any) -> list[tuple[Any, ...]]:
        """The system's function."""
        self.asked.append(arguments)
        if self.error is not None:
            raise self.error
        return self.entries

    def lookup(self, *families: socket.AddressFamily) -> NativeAddresses | NativeFailure:
        """Ask for a host."""
        return self.successResultOf(self.resolver.lookup("host.example", families or BOTH))

    def test_addresses(self) -> None:
        """Addresses keep the system's order; each counts once."""
        self.entries = [entry(10, "2001:db8::1"), entry(2, "192.0.2.1"), entry(2, "192.0.2.1")]
        self.assertEqual(self.lookup(), NativeAddresses(("2001:db8::1", "192.0.2.1")))
        self.assertEqual(self.asked, [(b"host.example", None, socket.AF_UNSPEC, socket.SOCK_STREAM)])

    def test_one_family(self) -> None:
        """If only one family is wanted, only that is asked for; others that come all the same are left out."""
        self.entries = [entry(10, "2001:db8::1"), entry(2, "192.0.2.1")]
        self.assertEqual(self.lookup(socket.AF_INET), NativeAddresses(("192.0.2.1",)))
        self.assertEqual(self.asked[0][2], socket.AF_INET)
        self.assertEqual(self.events, [AddressFamilySkipped(10, "host.example")])

    def test_strange_family(self) -> None:
        """Nothing of a wanted family is an empty answer."""
        self.entries = [entry(1, "/x")]
        self.assertEqual(self.lookup(), NativeAddresses(()))
        self.assertEqual(self.events, [AddressFamilySkipped(1, "host.example")])

    def test_errors(self) -> None:
        """Errors have their names and the system's words."""
        for error, name, text in [
            (
                socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
                "EAI_NONAME",
                "Name or service not known",
            ),
            (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "EAI_AGAIN", "Temporary failure"),
            (socket.gaierror(-5, "No address"), "EAI_NODATA", "No address"),
            (socket.gaierror(-77, "odd"), "EAI -77", "odd"),
            (OSError(24, "Too many open files"), "EAI_SYSTEM", "Too many open files"),
            (ValueError("embedded null byte"), "EAI_NONAME", "Name or service not known"),
        ]:
            self.error = error
            self.assertEqual(self.lookup(), NativeFailure(name, text))

    def test_cancelled(self) -> None:
        """A lookup that was cancelled is not heard any more."""
        running: Deferred[Any] = Deferred()
        resolver = NativeResolver(lambda *arguments: running, self.events.append)
        lookup = resolver.lookup("host.example", BOTH)
        lookup.cancel()
        self.failureResultOf(lookup)

    def test_real_system(self) -> None:
        """The real getaddrinfo knows literals, and refuses a name with a NUL."""
        resolver = NativeResolver(maybeDeferred, self.events.append)
        found = self.successResultOf(resolver.lookup("127.0.0.1", BOTH))
        self.assertEqual(found, NativeAddresses(("127.0.0.1",)))
        found = self.successResultOf(resolver.lookup("a\0b", BOTH))
        self.assertEqual(found, NativeFailure("EAI_NONAME", "Name or service not known"))
