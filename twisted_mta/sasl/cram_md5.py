"""CRAM-MD5: a keyed hash of the server's challenge.

Flow: mechanisms.py has it in its table.
Sources: RFC 2195 section 2; RFC 2104.
"""

import hmac

from twisted_mta.model.login import Login
from twisted_mta.model.text import to_wire
from twisted_mta.sasl.conversation import BAD_PROTOCOL, Steps, failure, user_name

LONGEST_CHALLENGE = 1024
"""Octets; a server's clock and name are shorter."""


def cram_md5(login: Login) -> Steps:
    """Name, blank, and the hash in hexadecimal digits."""
    challenge = yield None
    if len(challenge) > LONGEST_CHALLENGE:
        raise failure(BAD_PROTOCOL, f"CRAM-MD5 input longer than {LONGEST_CHALLENGE} bytes")
    proof = hmac.new(to_wire(login.password.reveal()), challenge, "md5").hexdigest()
    yield b"%b %b" % (to_wire(user_name(login)), proof.encode())
