"""What counts of all that is wrong, and in what words."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.judging import SERVER, line
from twisted_mta.tls.faults import Code, Fault, told, worst_of


class FaultTests(SynchronousTestCase):
    """`worst_of` and `told`."""

    def test_nearest_first(self) -> None:
        """The lowest depth counts, of several there the first."""
        faults = [Fault(2, 18), Fault(1, 20), Fault(1, 10), Fault(3, 22)]
        self.assertEqual(worst_of(faults), Fault(1, 20))
        self.assertEqual(worst_of([*faults, Fault(0, 62), Fault(0, 10)]), Fault(0, 62))
        self.assertIsNone(worst_of([]))

    def test_lines(self) -> None:
        """The words of each kind."""
        for fault, before, behind in (
            (Fault(0, 27), "certificate", "not trusted by local or TLSA policy"),
            (Fault(0, 18), "certificate", "self-signed certificate"),
            (Fault(2, 19, "/CN=Some Root"), "certificate", "untrusted issuer /CN=Some Root"),
            (Fault(1, 20), "certificate", "untrusted issuer <unknown>"),
            (Fault(1, 20, ""), "certificate", "untrusted issuer "),
            (Fault(0, 9), "server certificate", "certificate not yet valid"),
            (Fault(1, 13), "CA certificate", "certificate not yet valid"),
            (Fault(1, 10), "CA certificate", "certificate has expired"),
            (Fault(0, 14), "server certificate", "certificate has expired"),
            (Fault(0, 26), "certificate", "not designated for use as a server certificate"),
            (Fault(3, 26), "certificate", "not designated for use as a CA certificate"),
            (Fault(11, 22), "certificate", "certificate chain longer than limit(10)"),
            (Fault(0, 1), "server certificate", "num=1:unspecified certificate verification error"),
            (Fault(0, 62), "server certificate", "num=62:hostname mismatch"),
            (Fault(0, 64), "server certificate", "num=64:IP address mismatch"),
            (Fault(2, 65), "CA certificate", "num=65:no matching DANE TLSA records"),
            (Fault(0, Code.LEAF_NOT_VERIFIED), "server certificate", "num=21:unable to verify the first certificate"),
            (Fault(1, 68), "CA certificate", "num=68:CA signature digest algorithm too weak"),
        ):
            self.assertEqual(line(told(fault, SERVER)), f"{before} verification failed for {SERVER}: {behind}")

    def test_codes_of_the_future(self) -> None:
        """A number that nobody knows has a text, too."""
        self.assertIn("num=4711:", line(told(Fault(0, 4711), SERVER)))
