"""SASLprep: names and passwords in the one form that both sides compare.

Characters that Unicode 3.2 did not know are let through, as in what is asked for rather than stored: passwords have them, and the
server has the last word.

Flow: scram.py prepares name and password.
Sources: RFC 4013 section 2; RFC 3454 sections 3, 5 and 6 and appendices B to D.
"""

import stringprep
from unicodedata import ucd_3_2_0

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class SaslPrepError(ValueError):
    """A text has no such form; says why, not where, as the text may be a secret."""


def saslprep(text: str) -> str:
    """Prepare a name or a password.

    Args:
        text: as people write it.

    Returns:
        The form that is sent or hashed.

    Raises:
        SaslPrepError: it has a character that is prohibited, or mixes directions of writing in a way that is.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    for character in prepared:
        if any(prohibited(character) for prohibited in _PROHIBITED):
            raise SaslPrepError("a prohibited character")
    _check_directions(prepared)
    return prepared


def _check_directions(text: str) -> None:
    """RFC 3454 section 6: text that runs from right to left does so from its first character to its last."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    if any(map(stringprep.in_table_d2, text)):
        raise SaslPrepError("characters of both directions of writing")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise SaslPrepError("a text from right to left that does not begin and end as one")
