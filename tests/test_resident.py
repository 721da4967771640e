"""The service itself, as far as it can be without a process of its own."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_generations import Reactor
from twisted_mta.model.events import AcceptFailed, SocketRestored
from twisted_mta.options import Options
from twisted_mta.resident import DeliveryService


class Roomy:
    """A generation that counts how often it was asked for room."""

    def __init__(self) -> None:
        self.asked = 0

    def make_room(self) -> None:
        """Count."""
        self.asked += 1


class DescriptorsTests(SynchronousTestCase):
    """Descriptors that run out."""

    def test_sessions_that_wait_give_way(self) -> None:
        """Where no connection can be accepted, sessions that wait are closed; other events change nothing."""
        options = Options()
        options.parseOptions(["--config-directory", str(Path(self.mktemp()).absolute())])
        service: Any = DeliveryService(options, Reactor())
        failed = AcceptFailed("private/smtp", "Too many open files")
        service.emit_of_listening(failed)
        service._generation = generation = Roomy()
        service.emit_of_listening(SocketRestored("private/smtp"))
        self.assertEqual(generation.asked, 0)
        service.emit_of_listening(failed)
        self.assertEqual(generation.asked, 1)
        self.assertEqual(service._unlogged, [failed, SocketRestored("private/smtp"), failed])
