"""Tests of twisted_mta.content.settings."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.content.lookups import CHECKS, Asked
from twisted_mta.content.settings import ContentSettings


def settings_with(protocol: str = "smtp", **overrides: str) -> Settings:
    """Settings with some parameters set."""
    return load_settings(None, protocol=protocol, overrides=list(overrides.items()))


class ContentSettingsTests(SynchronousTestCase):
    """What is read from main.cf."""

    def test_defaults(self) -> None:
        """Nothing is checked or replaced, and the limits are those of postconf(5)."""
        found = ContentSettings.from_settings(settings_with())
        self.assertEqual(found, ContentSettings())
        self.assertFalse(found.has_checks)
        self.assertFalse(found.maps_addresses)

    def test_lists(self) -> None:
        """Each list that has tables is known by the name of its parameter in this personality."""
        for protocol in ("smtp", "lmtp"):
            for asked in CHECKS:
                name = asked.value.replace("smtp", protocol)
                found = ContentSettings.from_settings(settings_with(protocol, **{name: "static:DUNNO"}))
                self.assertEqual(found.parameters, {asked: name})
                self.assertTrue(found.has_checks)
        self.assertEqual(ContentSettings.from_settings(settings_with(lmtp_body_checks="static:OK")).parameters, {})

    def test_generic_maps(self) -> None:
        """propagate_unmatched_extensions says what becomes of extensions."""
        found = ContentSettings.from_settings(settings_with(smtp_generic_maps="static:a@b"))
        self.assertEqual(found.parameters, {Asked.GENERIC: "smtp_generic_maps"})
        self.assertTrue(found.maps_addresses)
        self.assertFalse(found.has_checks)
        self.assertFalse(found.generic.keep_extension)
        found = ContentSettings.from_settings(settings_with("lmtp", propagate_unmatched_extensions="alias, generic"))
        self.assertTrue(found.generic.keep_extension)
        self.assertEqual(found.generic.parameter, "lmtp_generic_maps")

    def test_limits(self) -> None:
        """The limits of headers, nesting and boundaries."""
        found = ContentSettings.from_settings(
            settings_with(header_size_limit="1000", mime_nesting_limit="5", mime_boundary_length_limit="70")
        )
        limits = found.limits
        self.assertEqual((limits.header_octets, limits.nesting, limits.boundary_octets), (1000, 5, 70))
