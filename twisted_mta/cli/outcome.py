"""What became of each recipient, for the person who waits for it.

Flow: the engine reports to a TerminalReporter; the sub-command prints what it holds, and exits with its status.
Sources: sysexits.h; RFC 3463.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.interfaces import IStatusReporter
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.model.text import printable

_EXIT_STATUS = ((Fate.DEFERRED, os.EX_TEMPFAIL), (Fate.BOUNCED, os.EX_UNAVAILABLE))


@implementer(IStatusReporter)
@dataclass(slots=True)
class TerminalReporter:
    """Keeps the results of one delivery.

    Attributes:
        show: takes a line for each result as it comes.
        as_json: whether the line is JSON.
        results: those so far.
    """

    show: Callable[[str], None]
    as_json: bool = False
    results: list[RecipientResult] = field(default_factory=list)

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Show a result (IStatusReporter); only a deferred one is not final."""
        self.results.append(result)
        self.show(self._line(result))
        return succeed(result.fate is not Fate.DEFERRED)

    def _line(self, result: RecipientResult) -> str:
        if self.as_json:
            return json.dumps(
                {
                    "recipient": result.recipient.address,
                    "status": result.fate.value,
                    "dsn": result.dsn.status,
                    "relay": result.relay,
                    "reason": result.dsn.reason,
                }
            )
        return printable(
            f"{result.recipient.address}: {result.fate.value}, dsn={result.dsn.status},"
            f" relay={result.relay} ({result.dsn.reason})"
        )

    @property
    def exit_status(self) -> int:
        """EX_TEMPFAIL if somebody must be tried again, else EX_UNAVAILABLE if somebody was refused, else 0."""
        fates = {result.fate for result in self.results}
        return next((status for fate, status in _EXIT_STATUS if fate in fates), os.EX_OK)
