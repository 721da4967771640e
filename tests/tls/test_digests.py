"""Digests by name."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.judging import line
from twisted_mta.model.events import Event
from twisted_mta.tls.digests import DEFAULT_RECORD_DIGESTS, SHA256, SHA512, digest_named, record_digests


class DigestTests(SynchronousTestCase):
    """`digest_named`."""

    def test_names(self) -> None:
        """Names in any case, and those of signatures."""
        for name in ("sha256", "SHA256", "SHA-256", "RSA-SHA256", "sha256WithRSAEncryption"):
            self.assertEqual(digest_named(name), SHA256, name)
        md5 = digest_named("md5")
        self.assertEqual(md5 and md5.of(b"abc").hex(), "900150983cd24fb0d6963f7d28e17f72")

    def test_unknown(self) -> None:
        """There is none of this name, or none of a fixed length."""
        for name in ("", "nosuch", "shake128", "sha256\0", "\u0161"):
            self.assertIsNone(digest_named(name), name)


class RecordDigestTests(SynchronousTestCase):
    """`record_digests`; the lines are those of Postfix."""

    def read(self, words: str) -> tuple[list[tuple[int, str]], list[str]]:
        """Types and names, and what was told."""
        told: list[Event] = []
        found = record_digests(words.split(), told.append)
        return [(kind, digest.name) for kind, digest in found.by_type.items()], [line(event) for event in told]

    def test_default(self) -> None:
        """The default; the best is first."""
        self.assertEqual(record_digests(["sha512", "SHA256"], self.fail), DEFAULT_RECORD_DIGESTS)
        self.assertEqual(list(DEFAULT_RECORD_DIGESTS.by_type.values()), [SHA512, SHA256])

    def test_numbers(self) -> None:
        """Others need a number; known ones may have one; a number alone turns it off."""
        self.assertEqual(self.read("sha384=003 sha256= =2"), ([(3, "sha384"), (1, "sha256")], []))
        self.assertEqual(self.read("sha256=1 sha256=5"), ([(1, "sha256"), (5, "sha256")], []))

    def test_wrong(self) -> None:
        """Words that are wrong are told, and left out."""
        for words, problem in {
            "sha384": "tls_dane_digests: digest algorithm sha384 needs an explicit number",
            "sha1=300": "Invalid matching type number in tls_dane_digests: sha1=300",
            "sha1=255": "Invalid matching type number in tls_dane_digests: sha1=255",
            "sha512=2x": "Invalid matching type number in tls_dane_digests: sha512=2x",
            "sha1=\u0663": "Invalid matching type number in tls_dane_digests: sha1=\u0663",
            "sha384=0": "Reserved matching type number in tls_dane_digests: sha384=0",
            "=400": "Invalid matching type number in tls_dane_digests: =400",
            "nosuch=9": 'tls_dane_digests: digest algorithm "nosuch"(9) unknown',
            "md5=2": "tls_dane_digests: matching type 2 can only be sha512",
        }.items():
            self.assertEqual(self.read(words), ([], [f"warning: {problem}"]))

    def test_twice(self) -> None:
        """Of two words for one type the first counts."""
        self.assertEqual(
            self.read("sha384=9 md5=9 =1 sha256"),
            (
                [(9, "sha384")],
                [
                    "warning: tls_dane_digests: matching type 9 specified more than once",
                    "warning: tls_dane_digests: matching type 1 specified more than once",
                ],
            ),
        )
