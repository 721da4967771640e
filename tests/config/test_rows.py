"""The tables of rows as a whole: complete, documented, and with the right LMTP names."""

import re
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.load_order import PLACES
from twisted_mta.config.parameter import Kind, Load
from twisted_mta.config.settings import ROWS, ROWS_BY_NAME, Settings, load_settings
from twisted_mta.config.values import SECONDS_IN

OTHER_LMTP_NAMES = {
    "smtp_helo_timeout": "lmtp_lhlo_timeout",
    "smtp_helo_name": "lmtp_lhlo_name",
    "smtp_discard_ehlo_keywords": "lmtp_discard_lhlo_keywords",
    "smtp_discard_ehlo_keyword_address_maps": "lmtp_discard_lhlo_keyword_address_maps",
}
"""postconf(5): where the LMTP name is not just the SMTP name with another prefix."""

SMTP_ONLY = {
    "ignore_mx_lookup_error",
    "smtp_always_send_ehlo",
    "smtp_never_send_ehlo",
    "smtp_tls_dane_insecure_mx_policy",
    "smtp_skip_4xx_greeting",
    "smtp_tls_cipherlist",
    "fallback_relay",
}
"""postconf(5): what LMTP mode does not read under any name."""

OTHER_LMTP_DEFAULTS = {
    "smtp_connect_timeout": ("30s", "0s"),
    "smtp_skip_quit_response": ("yes", "no"),
    "smtp_fallback_relay": ("$fallback_relay", ""),
    "smtp_tcp_port": ("smtp", "24"),
    "smtp_tls_secure_cert_match": ("nexthop, dot-nexthop", "nexthop"),
}
"""postconf(5): where the defaults differ."""

READ_BY_SMTP = """
    smtp_generic_maps smtp_tls_policy_maps smtp_sasl_password_maps smtp_header_checks smtp_reply_filter best_mx_transport
    use_srv_lookup dnssec_probe known_tcp_ports header_from_format info_log_address_format smtputf8_enable debug_peer_list
    queue_directory mail_owner compatibility_level lmtp_assume_final tls_config_file tls_ffdhe_auto_groups smtp_tls_enable_rpk
    smtp_sasl_password_result_delimiter smtp_min_data_rate respectful_logging maillog_file line_length_limit soft_bounce
"""
"""A sample of what smtp(8) lists, from all corners and releases."""


class RowsTests(SynchronousTestCase):
    """All rows."""

    def test_documented(self) -> None:
        """Each row has one line about it, a sentence."""
        for row in ROWS:
            self.assertRegex(row.doc, r"\A[A-Za-z*_/\[\]-].{8,}\.\Z", row.name)
            self.assertNotIn("\n", row.doc, row.name)

    def test_unique(self) -> None:
        """Each row is there once, under its own name."""
        self.assertEqual(len(ROWS), len(ROWS_BY_NAME))
        self.assertEqual({name: getattr(Settings, name) for name in ROWS_BY_NAME}, dict(ROWS_BY_NAME))

    def test_present(self) -> None:
        """What smtp(8) reads is there."""
        self.assertEqual([name for name in READ_BY_SMTP.split() if name not in ROWS_BY_NAME], [])

    def test_lmtp_names(self) -> None:
        """The LMTP name of each row is by rule, or one of the known exceptions."""
        for row in ROWS:
            by_rule = "lmtp_" + row.name.removeprefix("smtp_") if row.name.startswith("smtp_") else row.name
            expected = None if row.name in SMTP_ONLY else OTHER_LMTP_NAMES.get(row.name, by_rule)
            self.assertEqual(row.name_in("lmtp"), expected)

    def test_lmtp_defaults(self) -> None:
        """The LMTP default of each row is the same, except for the prefix of references, or one of the known exceptions."""
        for row in ROWS:
            smtp, lmtp = OTHER_LMTP_DEFAULTS.get(
                row.name,
                (row.default, row.default if row.name in SMTP_ONLY else row.default.replace("{smtp_", "{lmtp_")),
            )
            if row.default.startswith("$smtp_"):
                lmtp = "$lmtp_" + row.default.removeprefix("$smtp_")
            elif row.default.startswith("${smtp_"):
                lmtp = row.default.replace("smtp_", "lmtp_")
            self.assertEqual((row.default_in("smtp"), row.default_in("lmtp")), (smtp, lmtp), row.name)

    def test_times_have_units(self) -> None:
        """The default of a time ends in its unit, which a bare number inherits."""
        for row in ROWS:
            if row.kind is Kind.TIME:
                self.assertIn(row.default[-1], SECONDS_IN, row.name)

    def test_defaults(self) -> None:
        """Each default can be read in both personalities, and gives the type that its kind promises."""
        promised = {Kind.INTEGER: int, Kind.LONG: int, Kind.TIME: int, Kind.BOOLEAN: bool, Kind.COMPUTED_BOOLEAN: bool}
        for protocol in ("smtp", "lmtp"):
            settings = load_settings(None, protocol=protocol)
            for row in ROWS:
                value = getattr(settings, row.name)
                self.assertIs(type(value), promised.get(row.kind, type(value)), row.name)
                hash(value)

    def test_references_point_back(self) -> None:
        """A default refers only to what is loaded before it, or to what is a variable at all times."""
        known = {"process_name", "config_directory"}
        for row in ROWS:
            named = set(re.findall(r"\$[{(]?(\w+)", row.default))
            legacy = {name for name in named if ROWS_BY_NAME[name].kind is Kind.LEGACY}
            self.assertEqual(named - known - legacy, set(), row.name)
            known.add(row.name)

    def test_places(self) -> None:
        """Each name that has a place in the order of its kind is that of a row, and its place counts."""
        self.assertEqual(PLACES.keys() - ROWS_BY_NAME.keys(), set())
        for row, following in pairwise(row for row in ROWS if row.name in PLACES and row.kind is not Kind.FACT):
            if (row.load, row.kind) == (following.load, following.kind):
                self.assertLess(PLACES[row.name], PLACES[following.name])

    def test_stages(self) -> None:
        """The library of TLS reads last of what an agent reads, and other programs after it."""
        stages = [row.load for row in ROWS if row.kind is not Kind.LEGACY]
        self.assertEqual(stages, sorted(stages, key=list(Load).index))
