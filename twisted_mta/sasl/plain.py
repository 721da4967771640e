"""PLAIN and LOGIN: the password as it is.

Flow: mechanisms.py has them in its table.
Sources: RFC 4616 section 2 (PLAIN); draft-murchison-sasl-login (LOGIN).
"""

from twisted_mta.model.login import Login
from twisted_mta.model.text import to_wire
from twisted_mta.sasl.conversation import Steps, user_name


def plain(login: Login) -> Steps:
    """PLAIN: authorization identity, name and password, parted by null characters."""
    words = (login.authorization_id, user_name(login), login.password.reveal())
    yield b"\0".join(map(to_wire, words))


def login_steps(login: Login) -> Steps:
    """LOGIN: the server asks for name and password, in whatever words."""
    yield None
    yield to_wire(user_name(login))
    yield to_wire(login.password.reveal())
