"""What mechanisms must protect from: the words of smtp_sasl_security_options.

Flow: session/login.py reads the parameters once; choice.py leaves out mechanisms that do not satisfy all words.
Sources: postconf(5) smtp_sasl_security_options; RFC 4422 section 6; the texts are those of a running smtp(8).
"""

import re

from twisted_mta.config.errors import ConfigError

WORDS = ("noplaintext", "noactive", "nodictionary", "forward_secrecy", "noanonymous", "mutual_auth")
"""In lower case only, as Postfix wants them."""

_SEPARATORS = re.compile(r"[, \t\r\n]+")


def parse_security_options(text: str, parameter: str) -> frozenset[str]:
    """Read the value of a parameter.

    Args:
        text: words, with commas or blanks between; none means that any mechanism will do.
        parameter: its name.

    Raises:
        ConfigError: a word means nothing.
    """
    words = frozenset(word for word in _SEPARATORS.split(text) if word)
    for word in _SEPARATORS.split(text):
        if word and word not in WORDS:
            raise ConfigError(
                "SASL per-connection initialization failed",
                cause=f'unknown SASL security options value "{word}" in "{text}"',
                parameter=parameter,
            )
    return words
