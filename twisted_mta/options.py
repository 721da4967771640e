"""The command line of the service.

Flow: twistd parses it and hands it to service.makeService.
Sources: smtp(8) and master(5) for the names; twisted.python.usage.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from twisted.python import usage

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override
from twisted_mta.dns.cache import MOST_ENTRIES

PROTOCOLS = ("smtp", "lmtp")
PROCESS, SCACHE = "process", "scache"
DEFAULT_MAX_DELIVERIES = 2000


class Options(usage.Options):
    """Options of ``twistd smtpdeliver``.

    Attributes:
        overrides: the ``-o`` options in order, as names and values.
        words: the command line.
    """

    synopsis = "[--config-directory DIR] [--service NAME] [--protocol smtp|lmtp] [--flags DORX] [-o name=value]..."

    longdesc = (
        "Delivers what Postfix's queue manager hands over at queue_directory/private/NAME. The main.cf in DIR counts, and the"
        " overrides of the master.cf entry NAME if there is one; options given here come first."
    )

    optParameters: ClassVar[list[list[object]]] = [
        ["config-directory", "c", None, "Postfix's configuration directory."],
        ["service", "s", None, "Name of the transport, and of its socket in private/. [default: the protocol]"],
        ["protocol", "p", "smtp", "smtp or lmtp: which protocol is spoken, and which parameters count."],
        ["flags", "f", "", "Letters as in flags= of master.cf: D, O, R, X."],
        ["max-deliveries", "m", DEFAULT_MAX_DELIVERIES, "Deliveries at a time; more of them wait.", int],
        ["dns-cache", None, MOST_ENTRIES, "Answers of name servers to remember while they last; 0: none.", int],
        ["connection-cache", None, PROCESS, "Where idle sessions wait: process, or scache[:NAME] to share them."],
        ["control-socket", None, None, "Where smtpdeliver-spawn hands over connections."],
        ["entry", None, None, "The entry in master.cf that a worker gets from its supervisor; not for use by hand."],
        ["worker", None, 0, "Be a worker that a supervisor gave so many sockets; not for use by hand.", int],
    ]

    def __init__(self) -> None:
        """Start with no overrides."""
        super().__init__()
        self.overrides: list[tuple[str, str]] = []
        self.words: list[str] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line, and keep it for workers, which get the same."""
        self.words = list(options or ())
        super().parseOptions(options)

    def opt_override(self, text: str) -> None:
        """Set a parameter over main.cf: name=value."""
        try:
            self.overrides.append(parse_override(text))
        except ConfigError as error:
            raise usage.UsageError(str(error)) from error

    opt_o = opt_override

    def postOptions(self) -> None:
        """Check what does not depend on the configuration."""
        if self["protocol"] not in PROTOCOLS:
            raise usage.UsageError(f'--protocol is smtp or lmtp, not "{self["protocol"]}"')
        for letter in self["flags"]:
            if letter not in "DORX":
                raise usage.UsageError(f'unknown flags={self["flags"]} value "{letter}" in "{self["flags"]}"')
        if self["max-deliveries"] < 1:
            raise usage.UsageError("--max-deliveries is at least 1")
        if self["dns-cache"] < 0:
            raise usage.UsageError("--dns-cache is at least 0")
        kind, colon, name = self["connection-cache"].partition(":")
        if kind not in (PROCESS, SCACHE) or (colon and (kind == PROCESS or not name)):
            raise usage.UsageError(
                f'--connection-cache is process, scache or scache:NAME, not "{self["connection-cache"]}"'
            )
        if self["config-directory"] is None:
            raise usage.UsageError("--config-directory is needed: it says which Postfix to serve, e.g. /etc/postfix")
        self["service"] = self["service"] or self["protocol"]
        if "/" in self["service"] or self["service"] in (".", ".."):
            raise usage.UsageError(f'--service is a name, not a path: "{self["service"]}"')

    @property
    def shares_as(self) -> str | None:
        """The name of the service that idle sessions are shared with; None: they are not shared."""
        kind, _, name = self["connection-cache"].partition(":")
        return (name or self["service"]) if kind == SCACHE else None

    @property
    def config_directory(self) -> Path:
        """Where main.cf is."""
        return Path(self["config-directory"])
