"""What main.cf says of verification."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import settings_of
from tests.tls.judging import line
from twisted_mta.model.events import Event
from twisted_mta.tls.digests import DEFAULT_RECORD_DIGESTS, SHA256
from twisted_mta.tls.loglevel import SILENT, LogClass
from twisted_mta.tls.rules import VerificationRules


class RulesTests(SynchronousTestCase):
    """`VerificationRules.from_settings`."""

    def rules(self, **parameters: str) -> tuple[VerificationRules | None, list[str]]:
        """The rules, and what was told."""
        told: list[Event] = []
        found = VerificationRules.from_settings(settings_of(**parameters), LogClass.SUMMARY, told.append)
        return found, [line(event) for event in told]

    def test_defaults(self) -> None:
        """Without any settings."""
        rules, told = self.rules(compatibility_level="3.6")
        self.assertEqual(told, [])
        self.assertEqual(
            rules, VerificationRules(LogClass.SUMMARY, 9, SHA256, DEFAULT_RECORD_DIGESTS, transitional=False)
        )

    def test_values(self) -> None:
        """Each setting has its effect; wrong digests of records are told."""
        rules, told = self.rules(
            smtp_tls_scert_verifydepth="0", smtp_tls_fingerprint_digest="SHA1", tls_dane_digests="sha256 md4"
        )
        assert rules is not None
        self.assertEqual((rules.depth_limit, rules.fingerprint_digest.size), (0, 20))
        self.assertEqual(list(rules.record_digests.by_type), [1])
        self.assertEqual(told, ["warning: tls_dane_digests: digest algorithm md4 needs an explicit number"])

    def test_unknown_digest(self) -> None:
        """Without a digest for fingerprints there is no TLS."""
        self.assertEqual(
            self.rules(smtp_tls_fingerprint_digest="nosuch"),
            (None, ['warning: Digest algorithm "nosuch" not found', "warning: disabling TLS support"]),
        )

    def test_classes(self) -> None:
        """One class of several is enough."""
        rules = VerificationRules(LogClass.SUMMARY | LogClass.DANE)
        self.assertTrue(rules.wants(LogClass.DANE | LogClass.VERBOSE))
        self.assertFalse(rules.wants(LogClass.VERBOSE))
        self.assertFalse(VerificationRules(SILENT).wants(LogClass.SUMMARY))
