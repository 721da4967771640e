"""Tests of twisted_mta.dns.hostnames; names are tested in tests/config/test_hostname.py."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns.hostnames import valid_address, valid_ipv4, valid_ipv6


class AddressTests(SynchronousTestCase):
    """Which texts are addresses."""

    def test_ipv4(self) -> None:
        """Four numbers up to 255; leading zeros may stand; 0 begins nothing but the address of all zeros."""
        for text in ["1.2.3.4", "0000001.2.3.4", "192.0.2.01", "0.0.0.0", "00.0.0.0", "255.255.255.255", "1.0.0.0"]:
            self.assertTrue(valid_ipv4(text), text)
        for text in [
            "0.0.0.1",
            "0.1.2.3",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
            "+1.2.3.4",
            "1.2.3.x",
            "",
            "1.2.3.4\n",
        ]:
            self.assertFalse(valid_ipv4(text), text)
        self.assertFalse(valid_ipv4("1.2.3." + "9" * 10000))
        self.assertFalse(valid_ipv4("\u0661.2.3.4"))

    def test_ipv6(self) -> None:
        """Up to eight groups; no zone; a double colon at an end stands for more than one group."""
        for text in ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4"]:
            self.assertTrue(valid_ipv6(text), text)
        for text in [
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            ":::",
            "1:2",
            "::12345",
            "fe80::1%lo",
            "::1.2.3",
            "::G",
            "::1\0",
            "::\xe9",
        ]:
            self.assertFalse(valid_ipv6(text), text)

    def test_either(self) -> None:
        """An address is of one family or the other."""
        self.assertTrue(valid_address("1.2.3.4"))
        self.assertTrue(valid_address("2001:db8::1"))
        self.assertFalse(valid_address("mx1.dest.example"))
