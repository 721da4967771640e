"""What a dialog takes from the configuration."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.smtp.settings import DialogSettings


def configured(protocol: str = "smtp", **parameters: str) -> DialogSettings:
    """The settings of a dialog with these parameters, and a host name."""
    overrides = [("myhostname", "client.example"), *parameters.items()]
    return DialogSettings.from_settings(load_settings(None, protocol=protocol, overrides=overrides))


class DialogSettingsTests(SynchronousTestCase):
    """Parameters become settings (postconf(5))."""

    def test_defaults(self) -> None:
        """The defaults of smtp(8) are those of the class, but for the names."""
        self.assertEqual(configured(), DialogSettings(hello_name="client.example", myhostname="client.example"))

    def test_lmtp(self) -> None:
        """lmtp(8) waits for the reply to QUIT, and has names of its own for its parameters."""
        lmtp = configured("lmtp", lmtp_lhlo_name="lhlo.example", lmtp_discard_lhlo_keywords="dsn")
        self.assertTrue(lmtp.lmtp)
        self.assertTrue(lmtp.await_quit_reply)
        self.assertEqual((lmtp.hello_name, lmtp.discard), ("lhlo.example", {"dsn"}))
        self.assertEqual(lmtp.discard_maps, "lmtp_discard_lhlo_keyword_address_maps")
        self.assertEqual(lmtp.protocol_word, "LMTP")
        self.assertEqual(configured().protocol_word, "ESMTP")

    def test_auth(self) -> None:
        """AUTH=<> is for those who log in."""
        enabled = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": "static:x"}
        self.assertTrue(configured(**enabled, smtp_send_dummy_mail_auth="yes").dummy_mail_auth)
        self.assertFalse(configured(**enabled).dummy_mail_auth)
        self.assertFalse(configured(smtp_send_dummy_mail_auth="yes").dummy_mail_auth)

    def test_parameters(self) -> None:
        """Each parameter has its place."""
        dialog = configured(
            smtp_helo_name="[192.0.2.1]",
            smtp_always_send_ehlo="no",
            smtp_never_send_ehlo="yes",
            smtp_discard_ehlo_keywords="DSN, etrn silent-discard nonsense",
            smtp_pix_workarounds="Delay_DotCRLF nonsense",
            smtp_pix_workaround_threshold_time="1m",
            smtp_pix_workaround_delay_time="7s",
            smtp_quote_rfc821_envelope="no",
            disable_mime_output_conversion="yes",
            smtp_send_xforward_command="yes",
            smtp_skip_quit_response="no",
            smtp_address_verify_target="DATA",
            smtp_skip_5xx_greeting="no",
            line_length_limit="1000",
            smtputf8_enable="no",
            helpful_warnings="no",
        )
        self.assertEqual(
            dialog,
            DialogSettings(
                hello_name="[192.0.2.1]",
                myhostname="client.example",
                always_send_ehlo=False,
                never_send_ehlo=True,
                discard=frozenset({"dsn", "etrn", "silent-discard"}),
                pix_workarounds=frozenset({"delay_dotcrlf", "nonsense"}),
                pix_threshold_seconds=60,
                pix_delay_seconds=7,
                quote_envelope=False,
                convert_mime=False,
                send_xforward=True,
                await_quit_reply=True,
                probe_to_data=True,
                skip_5xx_greeting=False,
                line_length_limit=1000,
                utf8=False,
                helpful=False,
            ),
        )

    def test_control_characters(self) -> None:
        """A name with a line break would be a command of its own."""
        for name in ("smtp_helo_name", "myhostname"):
            error = self.assertRaises(ConfigError, configured, **{name: "a.example\r\nMAIL FROM:<x@y>"})
            self.assertIn(name, str(error))
