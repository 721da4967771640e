"""Certificate associations in log lines."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.policy import Association
from twisted_mta.tls.record_text import data_text, record_text


class RecordTextTests(SynchronousTestCase):
    """`record_text`."""

    def test_short(self) -> None:
        """All of short data is shown."""
        self.assertEqual(record_text(Association(3, 1, 1, b"\xab\x01")), "3 1 1 AB01")
        self.assertEqual(data_text(bytes(64)), "00" * 64)
        self.assertEqual(data_text(b""), "")

    def test_long(self) -> None:
        """Of long data both ends are shown."""
        self.assertEqual(data_text(b"\1" * 32 + b"\2" + b"\3" * 32), "01" * 32 + "..." + "03" * 32)
