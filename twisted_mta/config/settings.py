"""All settings of one service, evaluated once.

Flow: generations.py and cli/ load the Settings; assembly.py hands them to every room.
Sources: postconf(5); smtp(8) for its two personalities; the order of loading is that of a running smtp(8).

Attributes have the SMTP name in both personalities: of an LMTP service, `settings.smtp_helo_timeout` is lmtp_lhlo_timeout.
References see what Postfix's own agent would see: names that main.cf or ``-o`` define, and rows loaded before. Any other name is
empty, even where postconf(1) shows a default.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted_mta.config import parameters_connection_cache as connection_cache
from twisted_mta.config import parameters_content as content
from twisted_mta.config import parameters_dialog as dialog
from twisted_mta.config import parameters_dns as dns
from twisted_mta.config import parameters_host as host
from twisted_mta.config import parameters_ipc as ipc
from twisted_mta.config import parameters_logging as logging
from twisted_mta.config import parameters_mail as mail
from twisted_mta.config import parameters_process as process
from twisted_mta.config import parameters_routing as routing
from twisted_mta.config import parameters_sasl as sasl
from twisted_mta.config import parameters_timeouts as timeouts
from twisted_mta.config import parameters_tls as tls
from twisted_mta.config.choices import DnsSupport
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.evaluation import Evaluation, evaluate
from twisted_mta.config.parameter import Parameter, in_load_order

DEFAULT_CONFIG_DIRECTORY = Path("/etc/postfix")
"""Where main.cf is, unless MAIL_CONFIG says otherwise."""


class Settings(
    process.FactRows,
    host.FirstHostRows,
    process.FirstProcessRows,
    logging.FirstLoggingRows,
    dns.FirstDnsRows,
    routing.FirstRoutingRows,
    host.HostNameRows,
    host.HostRows,
    logging.LoggingRows,
    process.ProcessRows,
    mail.MailRows,
    ipc.ServiceRows,
    content.GeneralContentRows,
    routing.GeneralRoutingRows,
    dns.GeneralDnsRows,
    sasl.GeneralSaslRows,
    process.AgentFactRows,
    timeouts.TimeoutRows,
    mail.AgentMailRows,
    connection_cache.ConnectionCacheRows,
    ipc.AgentServiceRows,
    content.ContentRows,
    logging.NoticeRows,
    routing.RoutingRows,
    sasl.SaslRows,
    tls.TlsRows,
    dialog.DialogRows,
    dns.DnsRows,
    tls.TlsLibraryRows,
    tls.TlsManagerRows,
    process.OtherProcessRows,
):
    """The values of all rows, as read-only attributes.

    Attributes:
        protocol: ``smtp`` or ``lmtp``.
        warnings: texts to be logged as warnings, in order.
        unread: texts about mistakes that do no harm, as a delivery agent would not read what is wrong.
    """

    protocol: str
    warnings: tuple[str, ...]
    unread: tuple[str, ...]

    def __init__(self, evaluation: Evaluation) -> None:
        self.__dict__.update(evaluation.values)
        self.__dict__.update(
            protocol=evaluation.protocol,
            warnings=tuple(evaluation.warnings),
            unread=tuple(evaluation.unread),
            _evaluation=evaluation,
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings are read-only: {name}")

    @property
    def effective_dns_support(self) -> DnsSupport:
        """smtp_dns_support_level, or what disable_dns_lookups says where that is unset; never UNSET."""
        if self.smtp_dns_support_level is not DnsSupport.UNSET:
            return self.smtp_dns_support_level
        return DnsSupport.DISABLED if self.disable_dns_lookups else DnsSupport.ENABLED

    @property
    def effective_host_lookup(self) -> frozenset[str]:
        """smtp_host_lookup, or ``native`` alone where DNS is not used."""
        return frozenset({"native"}) if self.effective_dns_support is DnsSupport.DISABLED else self.smtp_host_lookup

    def parameter_name(self, name: str) -> str:
        """The name that main.cf has for an attribute in this personality: ``smtp_helo_name`` may be ``lmtp_lhlo_name``.

        Args:
            name: an attribute, or any other name, which is given back.
        """
        row = ROWS_BY_NAME.get(name)
        return (row.name_in(self.protocol) or name) if row else name

    def raw(self, name: str) -> str | None:
        """The text of a parameter before expansion: what was set, or else the default; None for an unknown name.

        Args:
            name: as main.cf has it, so that of the personality.
        """
        return self._stored.raw(name)

    def origin(self, name: str) -> str:
        """Where the text of a parameter comes from.

        Args:
            name: as main.cf has it.

        Returns:
            ``-o``, ``FILE, line N``, ``default``, or empty for an unknown name.
        """
        return self._stored.origin(name)

    def located(self, error: ConfigError) -> ConfigError:
        """The error with the place where its parameter was set, if that is known.

        Args:
            error: what was wrong with a value that has been loaded; its parameter by either name.
        """
        return self._stored.located(error)

    def expanded(self, name: str) -> str | None:
        """The expanded text of any name that is defined, such as the parameters of a table in main.cf; None otherwise.

        Raises:
            ConfigError: a reference in it is malformed or endless.
        """
        return self._stored.expanded(name)

    @property
    def _stored(self) -> Evaluation:
        evaluation: Evaluation = self.__dict__["_evaluation"]
        return evaluation


ROWS: tuple[Parameter[Any], ...] = in_load_order(Settings.__bases__)
"""All rows, in the order in which they are loaded."""

ROWS_BY_NAME: Mapping[str, Parameter[Any]] = {row.name: row for row in ROWS}
"""The rows by their SMTP name."""


def load_settings(
    config_directory: Path | None,
    *,
    protocol: str = "smtp",
    service_name: str = "",
    overrides: Sequence[tuple[str, str]] = (),
) -> Settings:
    """Read main.cf and evaluate every row.

    Args:
        config_directory: where main.cf is; None: there is none, and the defaults of this release apply.
        protocol: ``smtp`` or ``lmtp``.
        service_name: the name in master.cf; empty: that of the protocol.
        overrides: ``-o`` options in order, as names and values.

    Returns:
        The settings.

    Raises:
        ConfigError: main.cf cannot be read, or the first value that is wrong.
    """
    evaluation = evaluate(ROWS, config_directory, protocol, service_name, overrides)
    if evaluation.errors:
        raise evaluation.errors[0]
    return Settings(evaluation)


def find_problems(
    config_directory: Path | None,
    *,
    protocol: str = "smtp",
    service_name: str = "",
    overrides: Sequence[tuple[str, str]] = (),
) -> tuple[ConfigError, ...]:
    """All that is wrong, not just the first of it; the arguments are those of `load_settings`."""
    try:
        return tuple(evaluate(ROWS, config_directory, protocol, service_name, overrides).errors)
    except ConfigError as error:
        return (error,)


def salvage_settings(
    config_directory: Path | None,
    *,
    protocol: str = "smtp",
    service_name: str = "",
    overrides: Sequence[tuple[str, str]] = (),
) -> tuple[Settings, tuple[ConfigError, ...]]:
    """Load what can be loaded, for a service that must go on in order to defer mail, or to say what is wrong.

    The arguments are those of `load_settings`.

    Returns:
        The settings, with defaults where a value is wrong, and all that is wrong.

    Raises:
        ConfigError: main.cf cannot be read.
    """
    evaluation = evaluate(ROWS, config_directory, protocol, service_name, overrides)
    if evaluation.errors:
        evaluation.fill_from(evaluate(ROWS, None, protocol, service_name, ()))
    return Settings(evaluation), tuple(evaluation.errors)


def default_config_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of main.cf: MAIL_CONFIG of the environment, or else DEFAULT_CONFIG_DIRECTORY."""
    named = environment.get("MAIL_CONFIG", "")
    return Path(named) if named else DEFAULT_CONFIG_DIRECTORY
