"""What each parameter does that concerns the service as a whole: its owner, its queue, its log lines, its time limits.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
"""

from typing import Any

from twisted.internet.testing import StringTransport

from tests.kit.messages import ARRIVAL, make_request
from tests.kit.queue_file import QueueFileBuilder
from tests.test_generations import GenerationTestCase, Reactor
from twisted_mta.generations import Generation
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import RecipientLogged
from twisted_mta.model.request import MessageStats, Recipient
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.observe.maillog import line_of
from twisted_mta.options import Options
from twisted_mta.resident import DeliveryService


class EffectTests(GenerationTestCase):
    """One test a parameter."""

    def loaded(self, *lines: str) -> Generation:
        """What is made of these lines of main.cf, and of the usual ones."""
        self.write(*lines)
        return self.loader().load(master_cf=True)

    # ---- the queue ----

    def opens(self, path: str, *lines: str) -> None:
        """The message of a request is found in a directory below the queue."""
        (self.directory / "queue" / path).mkdir(parents=True, exist_ok=True)
        QueueFileBuilder().build().write(self.directory / "queue", "4Abc12")
        (self.directory / "queue/active/4Abc12").rename(self.directory / "queue" / path / "4Abc12")
        self.loaded(*lines).open(make_request("a@dest.example", queue_id="4Abc12")).close()

    def test_hash_queue_names(self) -> None:
        """Queues with subdirectories."""
        self.opens("active/4", "hash_queue_names = active")

    def test_hash_queue_depth(self) -> None:
        """And how many levels of them."""
        self.opens("active/4/A", "hash_queue_names = active", "hash_queue_depth = 2")

    def test_config_directory(self) -> None:
        """Parameters may refer to it."""
        self.lines.remove(f"queue_directory = {self.directory}/queue")
        self.opens("active", "queue_directory = $config_directory/queue")

    # ---- who we are ----

    def test_command_directory(self) -> None:
        """Whose Postfix this is."""
        (self.directory / "bin/postconf").write_text("#!/bin/sh\necho 3.5.1\n")
        loader = self.loader()
        self.assertEqual(loader.version(loader.load(master_cf=True).settings), PostfixVersion(3, 5))

    def test_mail_owner(self) -> None:
        """Who is to work for it."""
        problem = self.loaded("mail_owner = no-such-user").problem
        self.assertTrue(problem.endswith("parameter mail_owner: unknown user name value: no-such-user"), problem)

    def test_setgid_group(self) -> None:
        """Whose group that must not be."""
        self.assertIn("setgid_group", self.loaded("setgid_group = no-such-group").problem)

    def test_default_privs(self) -> None:
        """Who it must not be."""
        self.assertIn("default_privs", self.loaded("default_privs = no-such-user").problem)

    def test_default_verp_delimiters(self) -> None:
        """What nobody else may say, either."""
        self.assertIn("bad first VERP delimiter", self.loaded("default_verp_delimiters = **").problem)

    def test_verp_delimiter_filter(self) -> None:
        """Unless it is permitted."""
        problem = self.loaded("default_verp_delimiters = **", "verp_delimiter_filter = *").problem
        self.assertEqual(problem, "")

    def test_mail_version(self) -> None:
        """Parameters may refer to it."""
        self.assertEqual(self.loaded("smtp_helo_name = v$mail_version").settings.smtp_helo_name, "v3.9.14")
        self.assertEqual(
            self.loaded("smtp_helo_name = v$mail_version", "mail_version = 4").settings.smtp_helo_name, "v4"
        )

    # ---- log lines ----

    def line(self, *lines: str) -> str:
        """The line of a delivery."""
        stats = MessageStats(ARRIVAL, *[ARRIVAL + 1_236_000] * 4)
        recipient, status = Recipient("a b@dest.example"), DsnStatus("2.0.0", "ok")
        result = RecipientResult(recipient, Fate.SENT, status, "mx.example", stats)
        return line_of(RecipientLogged("4Abc12", result, "sent"), self.loaded(*lines).style)[1]

    def test_info_log_address_format(self) -> None:
        """How addresses look."""
        self.assertIn("to=<a b@dest.example>", self.line("info_log_address_format = internal"))

    def test_delay_logging_resolution_limit(self) -> None:
        """How exactly times are told."""
        self.assertIn("delays=1/", self.line("delay_logging_resolution_limit = 0"))

    # ---- time limits ----

    def service(self, generation: Generation, *words: str) -> Any:
        """A service with a configuration in force, and its reactor."""
        options = Options()
        options.parseOptions(["--config-directory", str(self.directory), *words])
        self.reactor = Reactor()
        service: Any = DeliveryService(options, self.reactor)
        service._generation = generation
        service._listener = service.listener_for(generation)
        return service

    def test_max_idle(self) -> None:
        """After so long a time without a request all is loaded anew."""
        generation = self.loaded("max_idle = 50s")
        service = self.service(generation)
        self.reactor.advance(51)
        service._listener.before_request()
        self.assertIsNot(service._generation, generation)

    def test_daemon_timeout(self) -> None:
        """A sixth of it is as long as the queue manager may be kept waiting."""
        service = self.service(self.loaded("daemon_timeout = 60s"), "--max-deliveries", "1")
        transports = [StringTransport(), StringTransport()]
        for transport in transports:
            service._listener.buildProtocol(None).makeConnection(transport)
        self.assertEqual([bool(transport.value()) for transport in transports], [True, False])
        self.reactor.advance(10)
        self.assertTrue(transports[1].value())
