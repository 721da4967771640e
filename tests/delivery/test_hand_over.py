"""Mail that would loop, and best_mx_transport."""

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.engine import Engine
from tests.kit.script import Script
from twisted_mta.delivery.hand_over import HandOverError
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.model.result import FinalStatus

OURSELVES = {("MX", "d.test"): ["10 me.test"], ("A", "me.test"): ["10.0.0.9"]}
LOOPS = "mail for d.test loops back to myself"


@dataclass
class Elsewhere:
    """Another transport.

    Attributes:
        outcomes: what becomes of each recipient: final, not final, or the reason why nobody knows; default: final.
        passed: the recipients it got.
        pause: what each waits for.
    """

    outcomes: dict[str, bool | str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    pause: Deferred[None] | None = None
    name: str = "elsewhere"

    async def hand_over(self, request: DeliveryRequest, recipient: Recipient) -> bool:
        """Take a recipient."""
        self.passed.append(recipient.address)
        if self.pause is not None:
            await self.pause
        outcome = self.outcomes.get(recipient.address, True)
        if isinstance(outcome, str):
            raise HandOverError(outcome)
        return outcome


class HandOverTests(SynchronousTestCase):
    """Handing over."""

    def engine(self, **settings: object) -> Engine:
        """An engine that is the best exchanger of d.test itself."""
        settings = {"best_mx_transport": Elsewhere(), **settings}
        zone = settings.pop("zone", OURSELVES)
        return Engine({}, zone, own=["10.0.0.9"], **settings)  # type: ignore[arg-type] # of the tests below

    def test_all_are_passed(self) -> None:
        """Each recipient is handed over, one by one, and told; nothing is reported here."""
        elsewhere = Elsewhere()
        engine = self.engine(best_mx_transport=elsewhere)
        status = engine.deliver("a@d.test", "b@d.test", nexthop="d.test")
        self.assertEqual(elsewhere.passed, ["a@d.test", "b@d.test"])
        self.assertEqual(
            engine.log,
            [f"4Abc12: passing <{name}@d.test> to transport=elsewhere" for name in "ab"],
        )
        self.assertEqual(status, FinalStatus(True))

    def test_not_final(self) -> None:
        """A recipient that the other agent could not finish must be tried again; the destination is well."""
        engine = self.engine(best_mx_transport=Elsewhere({"a@d.test": False}))
        self.assertEqual(engine.deliver("a@d.test", "b@d.test", nexthop="d.test"), FinalStatus(False))

    def test_nobody_knows(self) -> None:
        """Where the other transport does not answer, that recipient is deferred, the others go on."""
        elsewhere = Elsewhere({"a@d.test": "mail transport unavailable"})
        engine = self.engine(best_mx_transport=elsewhere)
        status = engine.deliver("a@d.test", "b@d.test", nexthop="d.test")
        self.assertEqual(status, FinalStatus(False))
        self.assertEqual(engine.reporter.lines, ["a@d.test none 4.3.0 deferred (mail transport unavailable)"])
        self.assertEqual(elsewhere.passed, ["a@d.test", "b@d.test"])

    def test_cancelled(self) -> None:
        """A delivery that is ended: whose turn had not come is deferred."""
        elsewhere = Elsewhere(pause=Deferred())
        engine = self.engine(best_mx_transport=elsewhere)
        done = engine.start("a@d.test", "b@d.test", nexthop="d.test")
        engine.turn()
        done.cancel()
        self.assertEqual(self.successResultOf(done), FinalStatus(False))
        self.assertEqual([line.split()[0] for line in engine.reporter.lines], ["a@d.test", "b@d.test"])

    def test_without_it(self) -> None:
        """Otherwise such mail goes back."""
        engine = self.engine(best_mx_transport=None)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.reporter.lines, [f"a@d.test none 5.4.6 bounced ({LOOPS})"])

    def test_other_failures(self) -> None:
        """Mail that fails otherwise is not handed over: also not where the best exchanger cannot be seen."""
        elsewhere = Elsewhere()
        for zone in (
            {},
            {("MX", "d.test"): ["10 gone.test", "20 me.test"], ("A", "me.test"): ["10.0.0.9"]},
        ):
            engine = self.engine(best_mx_transport=elsewhere, zone=zone)
            engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(elsewhere.passed, [])

    def test_configuration_problems(self) -> None:
        """A loop by relayhost or a fallback relay is the administrator's mistake: it is deferred."""
        elsewhere = Elsewhere()
        engine = self.engine(best_mx_transport=elsewhere, relayhost=["d.test"])
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.log[0], "warning: relayhost configuration problem")
        engine = self.engine(best_mx_transport=elsewhere, fallback_relay="d.test")
        engine.deliver("a@x.test", nexthop="x.test")
        self.assertIn("warning: smtp_fallback_relay configuration problem", engine.log)
        self.assertEqual(elsewhere.passed, [])

    def test_who_calls_itself_by_our_name(self) -> None:
        """A host that turns out to be ourselves by its words alone ends the mail at once."""
        elsewhere = Elsewhere()
        zone = {("MX", "d.test"): ["10 h.test"], ("A", "h.test"): ["10.0.0.1"]}
        hosts = {"10.0.0.1": Script(("EHLO", "250 client.test"))}
        engine = Engine(hosts, zone, best_mx_transport=elsewhere)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.reporter.lines, [f"a@d.test h.test[10.0.0.1]:25 5.4.6 bounced ({LOOPS})"])
        self.assertEqual(elsewhere.passed, [])
