"""What main.cf says of levels."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import settings_of
from twisted_mta.tls.level_terms import LevelTerms, global_level, terms_of_levels
from twisted_mta.tls.levels import Level


class GlobalLevelTests(SynchronousTestCase):
    """`global_level` (postconf(5) smtp_tls_security_level, smtp_enforce_tls, smtp_use_tls)."""

    def test_level(self) -> None:
        """The level comes first, in any case, also where it is none."""
        for word, level in [
            ("none", Level.NONE),
            ("May", Level.MAY),
            ("DANE-only", Level.DANE_ONLY),
            ("secure", Level.SECURE),
        ]:
            settings = settings_of(smtp_tls_security_level=word, smtp_enforce_tls="yes", smtp_use_tls="yes")
            self.assertEqual(global_level(settings), level)

    def test_obsolete(self) -> None:
        """Without a level the obsolete parameters count."""
        for enforce, peername, use, level in [
            ("no", "yes", "no", Level.NONE),
            ("no", "yes", "yes", Level.MAY),
            ("yes", "no", "no", Level.ENCRYPT),
            ("yes", "no", "yes", Level.ENCRYPT),
            ("yes", "yes", "no", Level.VERIFY),
        ]:
            settings = settings_of(smtp_enforce_tls=enforce, smtp_tls_enforce_peername=peername, smtp_use_tls=use)
            self.assertEqual(global_level(settings), level)

    def test_lmtp(self) -> None:
        """LMTP has a level of its own."""
        self.assertEqual(global_level(settings_of("lmtp", smtp_tls_security_level="may")), Level.NONE)
        self.assertEqual(global_level(settings_of("lmtp", lmtp_tls_security_level="verify")), Level.VERIFY)


class TermsTests(SynchronousTestCase):
    """`terms_of_levels`."""

    def test_defaults(self) -> None:
        """Where TLS is demanded each cipher encrypts; where the server must match none does without a certificate."""
        terms = terms_of_levels(settings_of())
        self.assertEqual(sorted(terms), [level for level in Level if level is not Level.NONE])
        self.assertEqual(terms[Level.MAY], LevelTerms(">=TLSv1", "medium", "", ""))
        self.assertEqual(terms[Level.ENCRYPT], LevelTerms(">=TLSv1", "medium", "", "eNULL"))
        self.assertEqual(terms[Level.DANE], LevelTerms(">=TLSv1", "medium", "", "aNULL"))
        self.assertEqual(terms[Level.HALF_DANE], terms[Level.DANE_ONLY])
        self.assertEqual(terms[Level.VERIFY].matches, ("hostname",))
        self.assertEqual(terms[Level.SECURE].matches, ("nexthop", "dot-nexthop"))
        self.assertEqual(terms[Level.FINGERPRINT].matches, ())

    def test_mandatory(self) -> None:
        """Above level may, other protocols and grades count, and two lists of exclusions instead of one."""
        terms = terms_of_levels(
            settings_of(
                smtp_tls_protocols="<=TLSv1.2,  !SSLv3",
                smtp_tls_mandatory_protocols=">=TLSv1.3",
                smtp_tls_ciphers="null",
                smtp_tls_mandatory_ciphers="high",
                smtp_tls_exclude_ciphers="RC4, MD5",
                smtp_tls_mandatory_exclude_ciphers="AES128:SHA1",
            )
        )
        # As it is written: a warning may have to quote it.
        self.assertEqual(terms[Level.MAY], LevelTerms("<=TLSv1.2,  !SSLv3", "null", "RC4 MD5", ""))
        self.assertEqual(terms[Level.ENCRYPT], LevelTerms(">=TLSv1.3", "high", "RC4 MD5 AES128:SHA1", "eNULL"))

    def test_matches(self) -> None:
        """Lists of names are split at colons, too; those of fingerprints are not."""
        terms = terms_of_levels(
            settings_of(
                smtp_tls_verify_cert_match="a:b c",
                smtp_tls_secure_cert_match="nexthop",
                smtp_tls_fingerprint_cert_match="aa:bb, cc",
            )
        )
        self.assertEqual(
            [terms[level].matches for level in (Level.VERIFY, Level.SECURE, Level.FINGERPRINT)],
            [("a", "b", "c"), ("nexthop",), ("aa:bb", "cc")],
        )

    def test_lmtp(self) -> None:
        """LMTP matches only the nexthop itself, unless it is told otherwise."""
        self.assertEqual(terms_of_levels(settings_of("lmtp"))[Level.SECURE].matches, ("nexthop",))
        terms = terms_of_levels(settings_of("lmtp", lmtp_tls_protocols="TLSv1.2", smtp_tls_protocols="TLSv1.3"))
        self.assertEqual(terms[Level.MAY].protocols, "TLSv1.2")

    def test_own_exclusions(self) -> None:
        """A list of a table's own replaces those of main.cf, but not what the level always leaves out."""
        terms = LevelTerms("", "medium", "RC4", "aNULL")
        self.assertEqual(terms.all_exclusions(None), "RC4 aNULL")
        self.assertEqual(terms.all_exclusions("MD5:DES"), "MD5:DES aNULL")
        self.assertEqual(terms.all_exclusions(""), "aNULL")
        self.assertEqual(LevelTerms("", "medium", "", "").all_exclusions(None), "")
