"""A reactor of a test's own, for the few tests whose matter is sockets; the global one stays out of it."""

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor


class PrivateReactor(EPollReactor):
    """Turned by hand."""

    def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Turn until `condition` holds; fails if that takes too long."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it does not happen")
            self.iterate(0.01)

    def close(self) -> None:
        """Give back what the reactor itself holds."""
        self.removeAll()
        for reader in self._internalReaders:
            reader.connectionLost(None)
        self._poller.close()
