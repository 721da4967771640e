"""Each default that Postfix documents is that of our rows, and what ``smtpdeliver config -d`` prints.

Flow: documented_defaults.tsv has the names of both personalities; deviations stand in the tables below, each with its reason.
Sources: postconf(1) -d; postconf(5); smtp(8) for its two personalities.
"""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import run_command
from twisted_mta.config.evaluation import PROTOCOLS
from twisted_mta.config.parameter import Kind
from twisted_mta.config.settings import ROWS

FILE = Path(__file__).with_name("documented_defaults.tsv")

READ_BY_OTHERS = {
    "address_verify_poll_count": "smtpd(8)",
    "address_verify_sender": "verify(8), cleanup(8), smtpd(8)",
    "address_verify_sender_ttl": "verify(8), cleanup(8), smtpd(8)",
    "body_checks": "cleanup(8); here it is smtp_body_checks",
    "body_checks_size_limit": "cleanup(8); smtp_body_checks has no limit",
    "default_destination_concurrency_limit": "qmgr(8)",
    "default_destination_rate_delay": "qmgr(8)",
    "default_destination_recipient_limit": "qmgr(8)",
    "header_checks": "cleanup(8); here it is smtp_header_checks",
    "initial_destination_concurrency": "qmgr(8)",
    "masquerade_domains": "cleanup(8)",
    "non_smtpd_milters": "cleanup(8)",
    "proxy_read_maps": "proxymap(8)",
    "proxy_write_maps": "proxymap(8)",
    "stress": "master(8) sets it for servers alone; here it is undefined",
    "virtual_alias_maps": "cleanup(8)",
}
"""What a delivery agent does not read, and who does: no row has it, and it is not printed."""

OTHERWISE = {"config_directory": "known at run time; with -d no main.cf is read, so there is none"}
"""What has another default here, and why."""


def documented_defaults() -> dict[str, str]:
    """The documented default of each name."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if not line.startswith("#"))
    return dict(pairs)


def defaults_of_rows() -> dict[str, str]:
    """The default of each row that has a literal one, under the names that the personalities read."""
    return {
        name: row.default_in(protocol)
        for protocol in reversed(PROTOCOLS)
        for row in ROWS
        if (name := row.name_in(protocol)) and row.kind not in (Kind.FACT, Kind.LEGACY)
    }


class DocumentedDefaultsTests(SynchronousTestCase):
    """All documented defaults."""

    def setUp(self) -> None:
        """Read them."""
        self.documented = documented_defaults()
        self.expected = {
            name: default
            for name, default in self.documented.items()
            if name not in READ_BY_OTHERS and name not in OTHERWISE
        }

    def check(self, found: dict[str, str], expected: dict[str, str]) -> None:
        """Each documented default was found, and is the same."""
        differing = {name: (found.get(name), default) for name, default in expected.items()}
        self.assertEqual({name: pair for name, pair in differing.items() if pair[0] != pair[1]}, {})

    def test_complete(self) -> None:
        """The list covers what smtp(8) documents, the mirrors for LMTP included."""
        self.assertGreater(len(self.expected), 370)
        self.assertGreater(len([name for name in self.expected if name.startswith("lmtp_")]), 90)

    def test_rows(self) -> None:
        """Each row has the default that is documented."""
        self.check(defaults_of_rows(), self.expected)

    def test_printed(self) -> None:
        """The command prints ``name = default``, without a blank behind the sign where that is empty."""
        shown = run_command("config", "-d")
        self.assertEqual((shown.result, shown.complaints), (0, []))
        lines = {line.split(" =")[0]: line for line in shown.lines}
        self.assertEqual(len(lines), len(shown.lines))
        self.check(lines, {name: f"{name} = {default}".rstrip(" ") for name, default in self.expected.items()})

    def test_printed_by_name(self) -> None:
        """The same for the names that one personality reads, when each is asked for."""
        for protocol in PROTOCOLS:
            names = sorted({row.name_in(protocol) or "" for row in ROWS} & self.expected.keys())
            shown = run_command("config", "-d", "--protocol", protocol, *names)
            self.assertEqual((shown.result, shown.complaints), (0, []))
            self.assertEqual(shown.lines, [f"{name} = {self.expected[name]}".rstrip(" ") for name in names])

    def test_no_others(self) -> None:
        """Each row with a literal default is documented, under both names."""
        # What a system or a main.cf says is known at run time only.
        at_run_time = {"myhostname", "mydomain", "mynetworks"}
        self.assertEqual(defaults_of_rows().keys() - self.documented.keys(), at_run_time)

    def test_deviations(self) -> None:
        """What is said to deviate does."""
        shown = dict(line.split(" =", 1) for line in run_command("config", "-d").lines)
        self.assertEqual({name for name in READ_BY_OTHERS if name in shown}, set())
        self.assertEqual({name for name in OTHERWISE if shown[name].strip() == self.documented[name]}, set())
        self.assertEqual(READ_BY_OTHERS.keys() | OTHERWISE.keys(), self.documented.keys() - self.expected.keys())
