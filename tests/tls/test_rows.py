"""Every parameter of TLS has a test of what it does, or a reason why it does nothing."""

import importlib

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.parameters_tls import TlsLibraryRows, TlsManagerRows, TlsRows

ROWS = [row.name for rows in (TlsRows, TlsLibraryRows, TlsManagerRows) for row in rows.rows]

NO_EFFECT = {
    "openssl_path": "no command is run",
    "smtp_tls_cipherlist": "of no effect in Postfix since 2.3",
    "tls_daemon_random_bytes": "OpenSSL seeds itself",
    "tls_dane_digest_agility": "of no effect in Postfix since 3.2",
    "tls_dane_trust_anchor_digest_enable": "of no effect in Postfix since 3.2",
    "tls_eecdh_strong_curve": "for servers",
    "tls_eecdh_ultra_curve": "for servers",
    "tls_export_cipherlist": "of no effect in Postfix since 3.8",
    "tls_legacy_public_key_fingerprints": "of no effect in Postfix since 3.9",
    "tls_low_cipherlist": "of no effect in Postfix since 3.8",
    "tls_preempt_cipherlist": "for servers",
    "tls_random_source": "OpenSSL seeds itself",
    "tls_server_sni_maps": "for servers",
    "tls_session_ticket_cipher": "for servers",
    "tls_wildcard_matches_multiple_labels": "of no effect in Postfix since 3.6",
    "tlsmgr_service_name": "sessions are kept in the process",
}
"""Parameters that are read and then do nothing, and why."""

TESTS = {name: f"tests.scenarios.test_tls_parameters.EffectTests.test_{name}" for name in ROWS if name not in NO_EFFECT}
"""The test of each of the others."""


class RowsTests(SynchronousTestCase):
    """The registry and the tests of its parameters."""

    def test_every_row_has_a_test(self) -> None:
        """Each parameter has a test that bears its name."""
        for name, test in TESTS.items():
            module, case, method = test.rsplit(".", 2)
            found = getattr(getattr(importlib.import_module(module), case), method, None)
            self.assertTrue(callable(found), f"{name} has no test of its effect: {test}")

    def test_no_test_is_left_over(self) -> None:
        """No test is named after a parameter that does not exist."""
        cases = importlib.import_module("tests.scenarios.test_tls_parameters").EffectTests
        named = {name.removeprefix("test_") for name in dir(cases) if name.startswith("test_")}
        self.assertEqual(named, set(TESTS))

    def test_reasons(self) -> None:
        """What does nothing is a parameter, too."""
        self.assertEqual(set(NO_EFFECT) - set(ROWS), set())
