"""Which mechanism to use.

Flow: assembly.py hands in the factories that there are; session/login.py asks for each login.
Sources: postconf(5) smtp_sasl_security_options; RFC 4422 section 3.2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ISASLMechanismFactory
from twisted_mta.model.login import Login
from twisted_mta.sasl.mechanisms import BUILT_IN
from twisted_mta.sasl.security import WORDS

_NAME = re.compile(r"[A-Z0-9_-]{1,20}")
"""RFC 4422 section 3.1."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of choosing.

    Attributes:
        factory: makes the mechanism; None: there is none that could be used.
        passed_over: mechanisms that the server offers and that would have been allowed, each with what stood in the way.
    """

    factory: ISASLMechanismFactory | None
    passed_over: tuple[tuple[str, str], ...] = ()


class Mechanisms:
    """The mechanisms there are."""

    def __init__(self, factories: Iterable[ISASLMechanismFactory] = BUILT_IN) -> None:
        """Take factories.

        Args:
            factories: of two with the same name the later one is taken, so that users can replace one.

        Raises:
            ConfigError: one of them is not what it should be.
        """
        by_name: dict[str, ISASLMechanismFactory] = {}
        for factory in factories:
            _check(factory)
            by_name[factory.name] = factory
        self._ranked = tuple(sorted(by_name.values(), key=lambda factory: (factory.rank, factory.name)))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, best first."""
        return tuple(factory.name for factory in self._ranked)

    def choose(self, offered: Iterable[str], required: frozenset[str], login: Login) -> Choice:
        """Take the best of those that the server offers.

        Args:
            offered: names, in any case and order.
            required: words of smtp_sasl_security_options.
            login: what is known of it.
        """
        there = {name.upper() for name in offered}
        passed_over: list[tuple[str, str]] = []
        for factory in self._ranked:
            if factory.name not in there or not required <= factory.satisfies:
                continue
            obstacle = factory.obstacle(login)
            if not obstacle:
                return Choice(factory, tuple(passed_over))
            passed_over.append((factory.name, obstacle))
        return Choice(None, tuple(passed_over))


def _check(factory: Any) -> None:
    """See whether a plug-in makes sense, before mail depends on it.

    Raises:
        ConfigError: it does not.
    """
    name = factory.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"SASL plug-in {factory!r}: {name!r} is not the name of a mechanism")
    if not isinstance(factory.rank, int):
        raise ConfigError(f"SASL plug-in {name}: the rank is not an int")
    if unknown := sorted(set(factory.satisfies) - set(WORDS)):
        raise ConfigError(f"SASL plug-in {name}: {unknown[0]!r} is not a word of smtp_sasl_security_options")
