"""The levels of TLS, in the order of how much they demand.

Flow: tls/policies.py finds the level for a server; all of tls/, session/ and delivery/ compare levels.
Sources: postconf(5) smtp_tls_security_level, smtp_tls_dane_insecure_mx_policy; TLS_README; RFC 7672.
"""

import enum


class Level(enum.IntEnum):
    """A level; the higher, the more is demanded. The numbers go into the keys of kept connections."""

    NONE = 0
    MAY = 1
    ENCRYPT = 2
    FINGERPRINT = 3
    HALF_DANE = 4
    """DANE where the look-up of the mail exchanger was not secure; never a configured level."""
    DANE = 5
    DANE_ONLY = 6
    VERIFY = 7
    SECURE = 8

    @property
    def word(self) -> str:
        """As it is written in main.cf: ``dane-only``; ``halfdane`` cannot be written there."""
        return _WORDS[self]

    @property
    def is_required(self) -> bool:
        """Whether no mail may go out in the clear."""
        return self > Level.MAY

    @property
    def must_match(self) -> bool:
        """Whether the server must prove who it is."""
        return self > Level.ENCRYPT

    @property
    def is_dane(self) -> bool:
        """Whether TLSA records decide."""
        return Level.HALF_DANE <= self <= Level.DANE_ONLY

    @property
    def needs_authority(self) -> bool:
        """Whether certification authorities, or trust anchors instead of them, decide."""
        return self >= Level.VERIFY


_WORDS = {level: level.name.lower().replace("_", "-") for level in Level} | {Level.HALF_DANE: "halfdane"}
_BY_WORD = {word: level for level, word in _WORDS.items() if level is not Level.HALF_DANE}


def level_of(word: str) -> Level | None:
    """The level that a word of main.cf or of a policy table names, in any case; None: no such level."""
    return _BY_WORD.get(word.lower())
