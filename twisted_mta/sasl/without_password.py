"""EXTERNAL and ANONYMOUS: logins that need no secret.

Flow: mechanisms.py has them in its table.
Sources: RFC 4422 appendix A (EXTERNAL); RFC 4505 section 2 (ANONYMOUS).
"""

from twisted_mta.model.login import Login
from twisted_mta.model.text import to_wire
from twisted_mta.sasl.conversation import Steps


def external(login: Login) -> Steps:
    """EXTERNAL: the certificate says who we are, this only whose rights we ask for, if not our own."""
    yield to_wire(login.authorization_id)


def anonymous(login: Login) -> Steps:
    """ANONYMOUS: a trace of where we come from."""
    yield to_wire(f"{login.authorization_id or 'anonymous'}@{login.local_host}")
