"""The lines of the events of TLS: how serious, and the text with the event's fields in braces.

Flow: observe/maillog.py has them among its templates.
Sources: as for model/tls_events.py.
"""

from twisted_mta.model import tls_events
from twisted_mta.model.events import Event, Severity

_INFO, _WARNING = Severity.INFO, Severity.WARNING

TLS_TEMPLATES: dict[type[Event], tuple[Severity, str]] = {
    tls_events.TlsPolicyUnusable: (_WARNING, "TLS policy lookup for {nexthop}/{host}: {reason}"),
}
"""The line of each event of TLS."""
