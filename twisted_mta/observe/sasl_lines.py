"""The lines of the events of logins: how serious, and the text with the event's fields in braces.

Flow: observe/maillog.py has them among its templates.
Sources: as for model/sasl_events.py.
"""

from twisted_mta.model import sasl_events
from twisted_mta.model.events import Event, Severity

_INFO, _WARNING = Severity.INFO, Severity.WARNING

SASL_TEMPLATES: dict[type[Event], tuple[Severity, str]] = {
    sasl_events.NoMechanismOffered: (_WARNING, "{relay} offered no supported AUTH mechanisms: '{offered}'"),
    sasl_events.NullMechanismList: (_WARNING, "{relay} offered null AUTH mechanism list"),
    sasl_events.SaslTrouble: (_WARNING, "{text}"),
    sasl_events.MechanismsPassedOver: (_WARNING, "{relay}: AUTH mechanisms that cannot be used: {reasons}"),
    sasl_events.RefusalExplained: (_INFO, "{relay}: {mechanism}: the server explains: {remark}"),
    sasl_events.PasswordLookupFailed: (_WARNING, "{queue_id}: {parameter} lookup error"),
    sasl_events.BadCacheEntry: (_WARNING, "bad {parameter} entry: {key}"),
    sasl_events.TokenObtained: (
        _INFO,
        "OAuth2 account {whose}: new access token, valid for {lifetime_seconds} seconds",
    ),
    sasl_events.TokenUnavailable: (_WARNING, "OAuth2 account {whose}: {problem}"),
    sasl_events.TokenRefused: (
        _WARNING,
        "OAuth2 account {whose}: a server refused the access token, the next login gets a new one",
    ),
}
"""The line of each event of a login."""
