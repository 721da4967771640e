"""GSSAPI: a Kerberos ticket in place of a password; needs the library python-gssapi (pip install "twisted_mta[gssapi]").

Flow: mechanisms.py has it in its table; session/login.py makes it in a thread, since getting the ticket takes as long as a key
distribution centre does.
Sources: RFC 4752 section 3.1; RFC 4121.
"""

import importlib
import importlib.util
from typing import Any

from twisted_mta.model.login import Login
from twisted_mta.model.text import to_wire
from twisted_mta.sasl.conversation import GENERIC_FAILURE, Conversation, Steps, failure

EXTRA = 'pip install "twisted_mta[gssapi]"'

_NO_LAYER = 1
_LAYER_OCTETS = 4


def obstacle(login: Login) -> str:
    """Whether the library is missing."""
    return "" if importlib.util.find_spec("gssapi") else f"it needs a library: {EXTRA}"


def gssapi(login: Login) -> Conversation:
    """Get a ticket for the server; may take long.

    Raises:
        SaslError: there is none.
    """
    library: Any = importlib.import_module("gssapi")
    try:
        name = library.Name(f"{login.service}@{login.host}", library.NameType.hostbased_service)
        context = library.SecurityContext(
            name=name,
            usage="initiate",
            mech=library.MechType.kerberos,
            flags=library.RequirementFlag.mutual_authentication,
        )
        first: bytes = context.step()
    except library.exceptions.GSSError as error:
        raise failure(GENERIC_FAILURE, f"GSSAPI: {_shown(error)}") from None
    return Conversation("GSSAPI", _steps(login, context, first, library.exceptions.GSSError), proven_after=2)


def _steps(login: Login, context: Any, first: bytes, error_type: type[Exception]) -> Steps:
    """The rest, which needs nobody else."""
    try:
        challenge = yield first
        while not context.complete:
            token = context.step(challenge)
            challenge = yield token or b""
        offer: bytes = context.unwrap(challenge).message
        if len(offer) != _LAYER_OCTETS or not offer[0] & _NO_LAYER:
            raise failure(GENERIC_FAILURE, "GSSAPI: the server demands a security layer")
        choice = bytes([_NO_LAYER, 0, 0, 0]) + to_wire(login.authorization_id)
        yield context.wrap(choice, False).message
    except error_type as error:
        raise failure(GENERIC_FAILURE, f"GSSAPI: {_shown(error)}") from None


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())
