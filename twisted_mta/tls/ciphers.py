"""Cipher lists in OpenSSL's words: a grade, without what is excluded, at a security level.

Flow: tls/contexts.py asks for the list that a policy means.
Sources: postconf(5) smtp_tls_ciphers, smtp_tls_exclude_ciphers, tls_medium_cipherlist; openssl-ciphers(1);
SSL_CTX_set_security_level(3).
"""

import re
from collections.abc import Mapping

from twisted_mta.config.settings import Settings


class CipherError(Exception):
    """There is no such list.

    Attributes:
        problem: in words for the log.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def cipher_lists(settings: Settings) -> Mapping[str, str]:
    """The list of each grade. There are no weaker ciphers left than those of grade medium."""
    medium = settings.tls_medium_cipherlist
    return {
        "high": settings.tls_high_cipherlist,
        "medium": medium,
        "low": medium,
        "export": medium,
        "null": settings.tls_null_cipherlist,
    }


def cipher_string(lists: Mapping[str, str], grade: str, exclusions: str) -> str:
    """The ciphers of a grade, without others.

    Args:
        lists: the list of each grade.
        grade: in any case.
        exclusions: ciphers or kinds of them, with commas, blanks or colons between.

    Raises:
        CipherError: no such grade; or an exclusion begins with a sign that would make it something else.
    """
    ciphers = lists.get(grade.lower())
    if ciphers is None:
        raise CipherError(f'invalid cipher grade: "{grade}"')
    for exclusion in re.findall(r"[^,:\s]+", exclusions):
        if exclusion[0] in "!+-@":
            raise CipherError(f"invalid unary '!+-@' in cipher exclusion: {exclusion}")
        ciphers += f":!{exclusion}"
    return ciphers


def with_security_level(ciphers: str, *, must_match: bool) -> str:
    """Put the library's security level into a list, where the last one counts.

    Encryption to whomever is better than none, so anything goes that the library can do, unless the list itself says a level. A
    server that must prove who it is must do so by keys and digests of at least 80 bits.
    """
    # Behind the list, as DEFAULT has a meaning only where it comes first.
    if must_match:
        return f"{ciphers}:@SECLEVEL=1"
    return ciphers if "@SECLEVEL=" in ciphers else f"{ciphers}:@SECLEVEL=0"
