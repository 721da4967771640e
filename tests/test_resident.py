"""The service itself, as far as it can be without a process of its own."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_generations import Reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.generations import Generation
from twisted_mta.model.events import AcceptFailed, SocketRestored
from twisted_mta.options import Options
from twisted_mta.resident import DeliveryService, contained


class Roomy:
    """A generation that counts how often it was asked for room."""

    def __init__(self) -> None:
        self.asked = 0

    def make_room(self) -> None:
        """Count."""
        self.asked += 1


class EarlyService(DeliveryService):
    """A service that is told to end, and to reload, before it has come far."""

    def _load_first(self) -> Generation:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        raise ConfigError("this is as far as it comes")


class PatientReactor(Reactor):
    """A reactor that does not run yet.

    Attributes:
        waiting: what is to be called once it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], object]] = []

    def callFromThread(self, call: Callable[[], object]) -> None:
        """Keep a call."""
        self.waiting.append(call)


class SignalTests(SynchronousTestCase):
    """Signals."""

    def test_before_the_reactor_runs(self) -> None:
        """What is told while the service starts is done once it runs: it does not end with a signal's status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        options = Options()
        options.parseOptions(["--config-directory", str(Path(self.mktemp()).absolute())])
        reactor = PatientReactor()
        service = EarlyService(options, reactor)
        self.assertRaises(SystemExit, service.privilegedStartService)
        self.assertEqual(reactor.waiting, [service._terminate, service.reload])


class ContainedTests(SynchronousTestCase):
    """Looking for changes."""

    def test_unforeseen(self) -> None:
        """What goes wrong in a way that nobody has foreseen is logged, and nothing else."""
        contained(lambda: 1 // 0)
        (failure,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIn("1 // 0", failure.getTraceback())


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
