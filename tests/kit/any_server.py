"""Servers that say anything, for property tests of transactions."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.kit.dialog import PEER
from tests.kit.messages import make_request
from twisted_mta.model.request import DeliveryRequest, RequestFlags
from twisted_mta.smtp.capabilities import parse_ehlo
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Transaction
from twisted_mta.smtp.workarounds import PixWorkarounds

USUAL = ["250 2.0.0 ok", "354 go", "221 bye"]
REFUSALS = ["550 5.1.1 no", "450 4.2.0 later", "552-5.2.2 a | 452 4.2.2 b", "554 no", "421 4.3.2 bye", "503 5.5.1 what"]
ODDITIES = ["354", "150 x", "650 y", "hm", "25O ok", "hm | 250 2.0.0 ok", "(early) 250 ok", "(early) 550 5.7.0 no"]
FAULTS = ["(lost)", "(timeout)"]
CONTENT_FAULTS = ["(lost in content)", "(timeout in content)", "(damaged content)"]

_ROW = st.one_of(
    *[st.sampled_from(USUAL)] * 4,
    *[st.sampled_from(REFUSALS)] * 2,
    st.sampled_from(ODDITIES),
    st.sampled_from(FAULTS),
    st.sampled_from(CONTENT_FAULTS),
)

SCRIPTS = st.lists(_ROW, max_size=16).map(lambda rows: "\n".join(f"S: {row}" for row in [*rows, "(lost)"]))
"""The S rows of tests.kit.dialog; the connection is lost at last."""


@dataclass(frozen=True, slots=True)
class Case:
    """A message, what the server offers, and how we talk."""

    request: DeliveryRequest
    welcome: Welcome
    settings: DialogSettings
    keep_open: bool
    reused: bool = False

    def transaction(self) -> Transaction:
        """The transaction for all recipients."""
        request = self.request
        return Transaction(
            request,
            request.recipients,
            PEER,
            self.welcome,
            self.settings,
            keep=lambda: self.keep_open,
            reused=self.reused,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Messages to up to four recipients, some of whom cannot be named in a command."""
    names = draw(st.lists(st.sampled_from(["a@d.example", "b@d.example", "c\r\nd@d.example"]), min_size=1, max_size=4))
    flags = draw(st.sampled_from([RequestFlags.SUCCESS, RequestFlags.SUCCESS, RequestFlags.MTA_VRFY]))
    keywords = draw(st.sets(st.sampled_from(["PIPELINING", "DSN", "SIZE 40", "8BITMIME"])))
    text = "\n".join(["250-mx.example", *(f"250-{keyword}" for keyword in keywords)])
    options: dict[str, Any] = {
        name: draw(st.booleans()) for name in ("lmtp", "await_quit_reply", "probe_to_data", "send_xforward")
    }
    return Case(
        make_request(*names, flags=flags),
        Welcome(parse_ehlo(text), PixWorkarounds(delay_dot=draw(st.booleans()))),
        DialogSettings(**options),
        draw(st.booleans()),
        draw(st.booleans()),
    )
