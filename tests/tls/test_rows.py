"""Every parameter of TLS has a test of what it does, or a reason why it does nothing."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.effect_rows import RowsMixin, names_of, tests_of
from twisted_mta.config.parameters_tls import TlsLibraryRows, TlsManagerRows, TlsRows

ROWS = names_of(TlsRows, TlsLibraryRows, TlsManagerRows)

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
}
"""Parameters that are read and then do nothing, and why."""

CASE = "tests.scenarios.test_tls_parameters.EffectTests"

TESTS = tests_of(ROWS, NO_EFFECT, CASE)
"""The test of each of the others."""


class RowsTests(RowsMixin, SynchronousTestCase):
    """The registry and the tests of its parameters."""

    names, no_effect, case = ROWS, NO_EFFECT, CASE
