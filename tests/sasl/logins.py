"""Logins for tests, and what a mechanism says in one."""

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.model.login import Login, Secret
from twisted_mta.sasl.mechanisms import BUILT_IN


def login(user: str = "user", password: str = "pencil", **changes: Any) -> Login:
    """A login to mx.example."""
    values: dict[str, Any] = {"host": "mx.example", "port": 587, "local_host": "client.example", **changes}
    return Login(user, Secret(password), **values)


def mechanism(name: str, of: Login) -> ISASLMechanism:
    """The mechanism of that name, at the start of a login."""
    factory = next(row for row in BUILT_IN if row.name == name)
    return factory.make(of)


class MechanismTestCase(SynchronousTestCase):
    """Talks to mechanisms as servers do."""

    def said(self, made: ISASLMechanism, *challenges: bytes) -> Sequence[bytes | None]:
        """What a mechanism says first, and to each challenge."""
        return [made.start(), *map(made.step, challenges)]

    def refusal(self, made: ISASLMechanism, *challenges: bytes) -> SaslError:
        """The error at the last challenge, or at the start if there is none."""
        error: SaslError
        if challenges:
            made.start()
            for challenge in challenges[:-1]:
                made.step(challenge)
            error = self.assertRaises(SaslError, made.step, challenges[-1])
        else:
            error = self.assertRaises(SaslError, made.start)
        return error
