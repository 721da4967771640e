"""Demands on settings that concern more than the one value's form.

Flow: settings.py applies CHECKS to the values it has loaded. Each check gives the texts of what it finds wrong.
Sources: postconf(5) for the parameters named; texts as a running Postfix logs them.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.hostname import hostname_problem
from twisted_mta.config.values import split_words

SYSLOG_FACILITIES = frozenset(
    ("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp")
) | {f"local{number}" for number in range(8)}
"""What syslog_facility may be."""


class Loaded(Protocol):
    """What a check sees: values by SMTP name, where main.cf is, and the name under which a parameter is read."""

    main_cf: str

    def value(self, name: str) -> Any:
        """The value of a row; None where it could not be read."""

    def parameter_name(self, name: str) -> str:
        """The name that is read in this personality."""


Check = Callable[[Loaded], Iterator[ConfigError]]


def _place(loaded: Loaded) -> str:
    return f"file {loaded.main_cf}: " if loaded.main_cf else ""


def check_host_names(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand that myhostname and mydomain are host names."""
    for name in ("myhostname", "mydomain"):
        value = loaded.value(name)
        problem = hostname_problem(value) if value is not None else ""
        if problem:
            text = f"{_place(loaded)}parameter {name}: bad parameter value: {value}"
            yield ConfigError(text, cause=f"valid_hostname: {problem}", parameter=name)


def check_relayhost(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand that mail is not relayed to this very host."""
    myhostname, relayhost = loaded.value("myhostname"), loaded.value("relayhost")
    if myhostname and relayhost and len(relayhost) == 1 and relayhost[0].lower() == myhostname.lower():
        text = f"myhostname and relayhost parameter settings must not be identical: {myhostname}"
        yield ConfigError(text, parameter="relayhost")


def check_myorigin(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand a single value."""
    value = loaded.value("myorigin")
    if value is not None and len(split_words(value)) > 1:
        yield ConfigError(f"myorigin parameter setting must not contain multiple values: {value}", parameter="myorigin")


def check_verp_delimiters(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand delimiters that verp_delimiter_filter allows."""
    delimiters, allowed = loaded.value("default_verp_delimiters"), loaded.value("verp_delimiter_filter")
    for which, character in zip(("first", "second"), delimiters or "", strict=False):
        if allowed is not None and character not in allowed:
            text = (
                f"{_place(loaded)}parameters default_verp_delimiters and verp_delimiter_filter:"
                f" bad {which} VERP delimiter character"
            )
            yield ConfigError(text, parameter="default_verp_delimiters")


def check_syslog_facility(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand a known facility."""
    value = loaded.value("syslog_facility")
    if value is not None and value not in SYSLOG_FACILITIES:
        text = f"{_place(loaded)}parameter syslog_facility: unrecognized value: {value}"
        yield ConfigError(text, parameter="syslog_facility")


def check_maillog_file(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand a log file in a place that is allowed."""
    file, prefixes = loaded.value("maillog_file"), loaded.value("maillog_file_prefixes")
    if file and prefixes is not None and not file.startswith(prefixes):
        text = f"maillog_file value '{file}' does not match any prefix in maillog_file_prefixes"
        yield ConfigError(text, parameter="maillog_file")


def check_sasl(loaded: Loaded) -> Iterator[ConfigError]:
    """Demand passwords where logging in is wanted, a library that there is, and a cache that can be written to."""
    if not loaded.value("smtp_sasl_auth_enable"):
        return
    if loaded.value("smtp_sasl_password_maps") == ():
        name = loaded.parameter_name("smtp_sasl_password_maps")
        yield ConfigError(f"specify a password table via the `{name}' configuration parameter", parameter=name)
    library = loaded.value("smtp_sasl_type")
    if library not in (None, "cyrus"):
        cause = f"unsupported SASL client implementation: {library}"
        name = loaded.parameter_name("smtp_sasl_type")
        yield ConfigError("SASL library initialization", cause=cause, parameter=name)
    cache = loaded.value("smtp_sasl_auth_cache_name")
    if not cache:
        return
    name = loaded.parameter_name("smtp_sasl_auth_cache_name")
    # A table in memory is ours alone: no other process writes to it.
    if not cache.startswith(("proxy:", "internal:")):
        yield ConfigError(f'SASL authentication cache name "{cache}" must start with "proxy:', parameter=name)
    elif len(split_words(cache)) > 1:
        yield ConfigError(f'SASL authentication cache name "{cache}" contains multiple values', parameter=name)


CHECKS: tuple[Check, ...] = (
    check_syslog_facility,
    check_maillog_file,
    check_host_names,
    check_myorigin,
    check_relayhost,
    check_verp_delimiters,
    check_sasl,
)
"""All checks, about in the order in which Postfix comes upon them."""
