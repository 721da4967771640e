"""What settings change in a dialog, worked out once per configuration.

Flow: assembly.py makes one from Settings; every dialog reads it.
Sources: smtp(8), lmtp(8) and postconf(5) for the parameters named in `from_settings`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from twisted_mta.config.choices import VerifyTarget
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.smtp.capabilities import parse_discard_words

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

PIX_WORKAROUNDS = ("disable_esmtp", "delay_dotcrlf")
"""The words of smtp_pix_workarounds, in the order of the log."""


@dataclass(frozen=True, slots=True)
class DialogSettings:
    """One personality's dialog.

    Attributes:
        lmtp: whether this is LMTP.
        hello_name: what EHLO, HELO or LHLO says.
        myhostname: our own name, to recognise loops.
        always_send_ehlo: EHLO whatever the greeting says.
        never_send_ehlo: HELO whatever the greeting says.
        discard: EHLO keywords to be treated as not offered, lower case.
        pix_workarounds: words in force for a PIX firewall; those of PIX_WORKAROUNDS have an effect.
        pix_threshold_seconds: the age of a message from which the delay of the dot applies.
        pix_delay_seconds: how long the dot is delayed.
        quote_envelope: whether envelope addresses get quotes where RFC 5321 wants them.
        convert_mime: whether 8-bit content is converted for servers without 8BITMIME.
        send_xforward: whether XFORWARD is used.
        await_quit_reply: whether the reply to QUIT is waited for.
        probe_to_data: whether a probe goes as far as DATA.
        skip_5xx_greeting: whether a 5xx greeting is a soft failure.
        line_length_limit: octets of a reply line.
        utf8: whether SMTPUTF8 is supported.
        helpful: whether hints are logged.
        discard_maps: the parameter with the tables that are asked for EHLO keywords to be treated as not offered, which a
            hint about pipelining names.
        asks_discard_maps: whether there are any.
        asks_pix_maps: whether tables are asked for the workarounds of a PIX firewall.
        dummy_mail_auth: whether MAIL says AUTH=<> after a login.
    """

    lmtp: bool = False
    hello_name: str = "localhost"
    myhostname: str = "localhost"
    always_send_ehlo: bool = True
    never_send_ehlo: bool = False
    discard: frozenset[str] = frozenset()
    pix_workarounds: frozenset[str] = frozenset(PIX_WORKAROUNDS)
    pix_threshold_seconds: int = 500
    pix_delay_seconds: int = 10
    quote_envelope: bool = True
    convert_mime: bool = True
    send_xforward: bool = False
    await_quit_reply: bool = False
    probe_to_data: bool = False
    skip_5xx_greeting: bool = True
    line_length_limit: int = 2048
    utf8: bool = True
    helpful: bool = True
    discard_maps: str = "smtp_discard_ehlo_keyword_address_maps"
    asks_discard_maps: bool = False
    asks_pix_maps: bool = False
    dummy_mail_auth: bool = False

    @property
    def protocol_word(self) -> str:
        """ESMTP or LMTP, for the log."""
        return "LMTP" if self.lmtp else "ESMTP"

    @classmethod
    def from_settings(cls, settings: Settings) -> "DialogSettings":
        """Read what dialogs need.

        Raises:
            ConfigError: a name that goes into commands holds control characters.
        """
        for name in ("smtp_helo_name", "myhostname"):
            if _CONTROL.search(getattr(settings, name)):
                raise ConfigError(f"parameter {settings.parameter_name(name)}: control character in value")
        return cls(
            lmtp=settings.protocol == "lmtp",
            hello_name=settings.smtp_helo_name,
            myhostname=settings.myhostname,
            always_send_ehlo=settings.smtp_always_send_ehlo,
            never_send_ehlo=settings.smtp_never_send_ehlo,
            discard=parse_discard_words(settings.smtp_discard_ehlo_keywords),
            pix_workarounds=parse_pix_words(settings.smtp_pix_workarounds),
            pix_threshold_seconds=settings.smtp_pix_workaround_threshold_time,
            pix_delay_seconds=settings.smtp_pix_workaround_delay_time,
            quote_envelope=settings.smtp_quote_rfc821_envelope,
            convert_mime=not settings.disable_mime_output_conversion,
            send_xforward=settings.smtp_send_xforward_command,
            await_quit_reply=not settings.smtp_skip_quit_response,
            probe_to_data=settings.smtp_address_verify_target is VerifyTarget.DATA,
            skip_5xx_greeting=settings.smtp_skip_5xx_greeting,
            line_length_limit=settings.line_length_limit,
            utf8=settings.smtputf8_enable,
            helpful=settings.helpful_warnings,
            discard_maps=settings.parameter_name("smtp_discard_ehlo_keyword_address_maps"),
            asks_discard_maps=bool(settings.smtp_discard_ehlo_keyword_address_maps),
            asks_pix_maps=bool(settings.smtp_pix_workaround_maps),
            dummy_mail_auth=settings.smtp_sasl_auth_enable and settings.smtp_send_dummy_mail_auth,
        )


def parse_pix_words(words: Iterable[str]) -> frozenset[str]:
    """The words of smtp_pix_workarounds in lower case; unknown ones are there too: they have no effect but on the log."""
    return frozenset(word.lower() for word in words if word)
