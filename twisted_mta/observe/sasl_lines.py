"""The lines of the events of logins: how serious, and the text with the event's fields in braces.

Flow: observe/maillog.py has them among its templates.
Sources: as for model/sasl_events.py.
"""

from twisted_mta.model import sasl_events
from twisted_mta.model.events import Event, Severity

_WARNING = Severity.WARNING

SASL_TEMPLATES: dict[type[Event], tuple[Severity, str]] = {
    sasl_events.NoMechanismOffered: (_WARNING, "{relay} offered no supported AUTH mechanisms: '{offered}'"),
}
"""The line of each event of a login."""
