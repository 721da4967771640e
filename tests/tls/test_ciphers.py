"""Cipher lists."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import load_settings
from twisted_mta.tls.ciphers import CipherError, cipher_lists, cipher_string, with_security_level

LISTS = {"high": "HIGH", "medium": "HIGH:MEDIUM"}


class CipherTests(SynchronousTestCase):
    """`cipher_string` and its neighbours."""

    def test_grades(self) -> None:
        """Each grade is a parameter; the weak ones of old are medium."""
        settings = load_settings(None, overrides=[("tls_medium_cipherlist", "M"), ("tls_null_cipherlist", "N")])
        lists = cipher_lists(settings)
        self.assertEqual([lists[grade] for grade in ("low", "export", "medium", "null")], ["M", "M", "M", "N"])
        self.assertEqual(lists["high"], settings.tls_high_cipherlist)

    def test_exclusions(self) -> None:
        """Each exclusion is put behind the list of the grade, whose case does not matter."""
        self.assertEqual(cipher_string(LISTS, "High", "aNULL, MD5:DES  3DES"), "HIGH:!aNULL:!MD5:!DES:!3DES")
        self.assertEqual(cipher_string(LISTS, "medium", ""), "HIGH:MEDIUM")

    def test_unknown_grade(self) -> None:
        """There is no list for a grade that there is not."""
        error = self.assertRaises(CipherError, cipher_string, LISTS, "low", "")
        self.assertEqual(error.problem, 'invalid cipher grade: "low"')

    def test_signs_in_exclusions(self) -> None:
        """An exclusion that would turn into its opposite is refused."""
        for word in ("!aNULL", "+RC4", "-x", "@STRENGTH"):
            error = self.assertRaises(CipherError, cipher_string, LISTS, "high", f"MD5 {word}")
            self.assertEqual(error.problem, f"invalid unary '!+-@' in cipher exclusion: {word}")

    def test_security_level(self) -> None:
        """Where servers must prove who they are our level comes last, and so counts; otherwise that of the list does."""
        self.assertEqual(with_security_level("X:@SECLEVEL=2", must_match=False), "X:@SECLEVEL=2")
        self.assertEqual(with_security_level("X", must_match=False), "X:@SECLEVEL=0")
        self.assertEqual(with_security_level("X:@SECLEVEL=2", must_match=True), "X:@SECLEVEL=2:@SECLEVEL=1")
