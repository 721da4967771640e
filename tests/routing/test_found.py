"""What look-ups found."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.found import WhyNot, cut_at_self
from twisted_mta.routing.order import HostAddress
from twisted_mta.routing.own_addresses import OwnAddresses


class WhyNotTests(SynchronousTestCase):
    """The status of a destination without addresses."""

    def test_soft_sticks(self) -> None:
        """After a soft failure a hard one is soft, but its text shows."""
        why = WhyNot()
        why.note("4.4.3", "try again")
        why.note("5.4.4", "not found")
        self.assertEqual(why.problem, DsnStatus("4.4.4", "not found"))

    def test_hard_then_soft(self) -> None:
        """The last failure counts as it is."""
        why = WhyNot()
        why.note("5.4.4", "not found")
        why.note("4.4.3", "try again")
        self.assertEqual(why.problem, DsnStatus("4.4.3", "try again"))

    def test_nothing_noted(self) -> None:
        """Without any reason it is a soft failure, never a bounce."""
        self.assertTrue(WhyNot().problem.is_soft)


class CutAtSelfTests(SynchronousTestCase):
    """This machine among the hosts."""

    def cut(self, *entries: tuple[int, str]) -> list[str]:
        """What is left of preferences and addresses, for the machine 192.0.2.1."""
        found = [HostAddress(Family.IPV4, address, "h", "h", preference=preference) for preference, address in entries]
        return [entry.address for entry in cut_at_self(found, OwnAddresses(["192.0.2.1"]))]

    def test_cut(self) -> None:
        """Equals and worse ones are left out, too, even if they stand before this machine."""
        self.assertEqual(self.cut((10, "a"), (20, "b"), (20, "192.0.2.1"), (20, "c"), (30, "d")), ["a"])

    def test_twice(self) -> None:
        """The best place counts."""
        self.assertEqual(self.cut((10, "a"), (20, "192.0.2.1"), (30, "192.0.2.1")), ["a"])

    def test_not_there(self) -> None:
        """All stay."""
        self.assertEqual(self.cut((10, "a"), (20, "b")), ["a", "b"])

    def test_best(self) -> None:
        """None stays."""
        self.assertEqual(self.cut((10, "192.0.2.1"), (10, "a")), [])
