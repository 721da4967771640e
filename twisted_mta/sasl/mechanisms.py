"""The mechanisms that come with this package: one row each.

The order is that of the Cyrus SASL library, by what a mechanism protects from; that of the server does not matter. Those that are
bound to the TLS connection come first; EXTERNAL comes last, for servers with nothing else to offer.

Flow: twisted/plugins/smtpdeliver_sasl.py shows them to twisted.plugin, where assembly.py finds them; choice.py chooses.
Sources: the mechanisms' own RFCs; postconf(5) smtp_sasl_security_options for the words; a running smtp(8) for the order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zope.interface import implementer

from twisted_mta.interfaces import ISASLMechanism, ISASLMechanismFactory
from twisted_mta.model.login import Login
from twisted_mta.sasl import gssapi
from twisted_mta.sasl.bearer import oauthbearer, xoauth2
from twisted_mta.sasl.conversation import Conversation, Steps
from twisted_mta.sasl.cram_md5 import cram_md5
from twisted_mta.sasl.digest_md5 import digest_md5
from twisted_mta.sasl.plain import login_steps, plain
from twisted_mta.sasl.scram import scram
from twisted_mta.sasl.without_password import anonymous, external

Obstacle = Callable[[Login], str]

_MUTUAL = 2
"""Challenges of a mechanism in which the server proves that it knows the password, in the second of them."""


@implementer(ISASLMechanismFactory)
@dataclass(frozen=True)
class Mechanism:
    """A mechanism (ISASLMechanismFactory).

    Attributes:
        name: of the mechanism, upper case.
        rank: its place.
        satisfies: the words of smtp_sasl_security_options that do not rule it out.
        maker: prepares a login.
        why_not: why a login cannot use it; empty: it can.
        blocks: whether `make` may take long.
    """

    name: str
    rank: int
    satisfies: frozenset[str]
    maker: Callable[[Login], ISASLMechanism]
    why_not: Obstacle
    blocks: bool = False

    def obstacle(self, login: Login) -> str:
        """Why this login cannot use it; empty: it can."""
        return self.why_not(login)

    def make(self, login: Login) -> ISASLMechanism:
        """Prepare one login; raises SaslError."""
        return self.maker(login)


# ---- what may stand in the way ----


def _needs_password(login: Login) -> str:
    return "the password table has a token, not a password" if login.is_token else ""


def _needs_binding(login: Login) -> str:
    return _needs_password(login) or ("" if login.binding else "there is no TLS to be bound to")


def _needs_certificate(login: Login) -> str:
    return "" if login.has_certificate else "no client certificate is in use"


def _nothing(login: Login) -> str:
    return ""


# ---- rows ----


def _row(
    name: str,
    rank: int,
    satisfies: str,
    steps: Callable[[Login], Steps],
    why_not: Obstacle = _needs_password,
    *,
    proven_after: int = 0,
) -> Mechanism:
    """A row of a mechanism that is written as Steps."""

    def make(login: Login) -> ISASLMechanism:
        return Conversation(name, steps(login), proven_after=proven_after)

    return Mechanism(name, rank, frozenset(satisfies.split()), make, why_not)


_STRONG = "noplaintext noanonymous noactive mutual_auth"
_SCRAM_HASHES = ("sha512", "sha384", "sha256", "sha224", "sha1")


def _scram_row(at: int, hash_name: str, *, plus: bool) -> Mechanism:
    name = f"SCRAM-SHA-{hash_name[3:]}" + ("-PLUS" if plus else "")
    steps = partial(scram, hash_name=hash_name, plus=plus)
    why_not = _needs_binding if plus else _needs_password
    return _row(name, (0 if plus else 100) + at, _STRONG, steps, why_not, proven_after=_MUTUAL)


BUILT_IN: tuple[Mechanism, ...] = (
    *(_scram_row(at, name, plus=True) for at, name in enumerate(_SCRAM_HASHES)),
    *(_scram_row(at, name, plus=False) for at, name in enumerate(_SCRAM_HASHES)),
    Mechanism("GSSAPI", 200, frozenset(_STRONG.split()), gssapi.gssapi, gssapi.obstacle, blocks=True),
    _row("DIGEST-MD5", 300, "noplaintext noanonymous mutual_auth", digest_md5, proven_after=_MUTUAL),
    _row("CRAM-MD5", 400, "noplaintext noanonymous", cram_md5),
    _row("PLAIN", 500, "noanonymous", plain),
    _row("LOGIN", 510, "noanonymous", login_steps),
    # Behind the others: only a filter, or a table with tokens, leaves these as the best.
    Mechanism("OAUTHBEARER", 600, frozenset({"noanonymous"}), oauthbearer, _nothing),
    Mechanism("XOAUTH2", 610, frozenset({"noanonymous"}), xoauth2, _nothing),
    _row("ANONYMOUS", 700, "noplaintext", anonymous, _nothing),
    _row("EXTERNAL", 800, "noplaintext noanonymous nodictionary", external, _needs_certificate),
)
"""All rows, best first."""
