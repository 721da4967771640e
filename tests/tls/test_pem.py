"""Objects in PEM files (RFC 7468; PEM_read_bio(3))."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.pem import PemError, PemObject, pem_objects

settings.register_profile("pem", deadline=None, max_examples=100)
settings.load_profile("pem")


def armored(kind: str, data: bytes, line_end: bytes = b"\n") -> bytes:
    """An object as it stands in a file."""
    lines = [
        f"-----BEGIN {kind}-----".encode(),
        *base64.encodebytes(data).splitlines(),
        f"-----END {kind}-----".encode(),
    ]
    return b"".join(line + line_end for line in lines)


class PemTests(SynchronousTestCase):
    """`pem_objects`."""

    def read(self, text: bytes) -> list[PemObject]:
        """All objects."""
        return list(pem_objects(text))

    def test_objects(self) -> None:
        """Objects of any kind, with text around them, and with line ends of any system."""
        text = (
            b"subject: x\n"
            + armored("CERTIFICATE", b"one" * 40)
            + b"\n# key\n"
            + armored("PUBLIC KEY", b"two", b" \r\n")
        )
        self.assertEqual(self.read(text), [(b"CERTIFICATE", b"one" * 40), (b"PUBLIC KEY", b"two")])

    def test_nothing(self) -> None:
        """A file without objects."""
        self.assertEqual(self.read(b"hello\n-----BEGIN\nx -----BEGIN CERTIFICATE-----\n"), [])
        self.assertEqual(self.read(b""), [])

    def test_headers(self) -> None:
        """The headers of an encrypted key are not its data."""
        headers = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES,00\n\n"
        key = armored("RSA PRIVATE KEY", b"abc").replace(b"YWJj", headers + b"YWJj")
        self.assertEqual(self.read(key), [(b"RSA PRIVATE KEY", b"abc")])

    def test_damaged(self) -> None:
        """An object that is cut short, ends as another kind, or has something else in it."""
        whole = armored("CERTIFICATE", b"one" * 40)
        for text, problem in [
            (whole[:60], "bad end line"),
            (whole.replace(b"END CERT", b"END  CERT"), "bad end line"),
            (whole.replace(b"-----END", b"-----BEGIN"), "bad end line"),
            (whole.replace(b"b25lb", b"!!!"), "bad base64 decode"),
        ]:
            with self.assertRaises(PemError) as damaged:
                self.read(text)
            self.assertEqual(str(damaged.exception), problem)

    @given(
        st.lists(st.tuples(st.sampled_from(["CERTIFICATE", "PUBLIC KEY", "X"]), st.binary(min_size=1, max_size=100)))
    )
    def test_round_trip(self, objects: list[tuple[str, bytes]]) -> None:
        """What was written is read."""
        text = b"text\n".join(armored(kind, data) for kind, data in objects)
        self.assertEqual(self.read(text), [(kind.encode(), data) for kind, data in objects])

    @given(st.binary(max_size=200), st.integers(0, 300))
    def test_anything(self, junk: bytes, at: int) -> None:
        """Junk in a file gives objects or an error, nothing else."""
        text = armored("CERTIFICATE", b"one" * 40)
        try:
            self.read(text[:at] + junk + text[at:])
        except PemError as error:
            self.assertIn(str(error), ("bad end line", "bad base64 decode"))
