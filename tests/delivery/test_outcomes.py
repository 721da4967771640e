"""The tables of what becomes of mail, each row by a delivery: verdicts, and what name servers say."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.engine import Engine
from tests.kit.script import Script
from twisted_mta.delivery.verdict import VERDICTS, Disposition, Kind
from twisted_mta.model.answers import LookupResult
from twisted_mta.model.request import RequestFlags
from twisted_mta.smtp.actions import Scope

FIRST, SECOND = "10.0.0.1", "10.0.0.2"

FAILING = {
    Scope.SITE: (("EHLO", "500 no"), ("HELO", "{0} no"), ("LHLO", "{0} no")),
    Scope.MESSAGE: (("MAIL", "{0} no"),),
    Scope.RECIPIENT: (("RCPT", "{0} no"),),
}
"""The replies by which a server fails for each scope."""

KINDS = tuple((lmtp, flags) for lmtp in (False, True) for flags in (RequestFlags.SUCCESS, RequestFlags.MTA_VRFY))
"""Mail and probes, by SMTP and by LMTP."""

CODES = {Kind.SOFT: "450", Kind.HARD: "550", Kind.HARD_BUT_SOFT_BOUNCE: "550"}

FATES = {
    LookupResult.RETRY: ("4.4.3", "deferred", True),
    LookupResult.FAIL: ("5.4.3", "bounced", False),
    LookupResult.INVALID: ("5.4.4", "bounced", False),
    LookupResult.POLICY: ("4.7.0", "deferred", True),
    LookupResult.NULL_MX: ("5.1.0", "bounced", False),
    LookupResult.NULL_SRV: ("5.1.0", "bounced", False),
    LookupResult.NOT_FOUND: ("5.4.4", "bounced", False),
}
"""What becomes of mail by each result of a look-up that is not OK: status, fate, and whether the destination is held back."""

ERRORS = {LookupResult.RETRY, LookupResult.FAIL, LookupResult.INVALID}


class VerdictTests(SynchronousTestCase):
    """Each row of the verdict table."""

    def test_each_row(self) -> None:
        """What the row says is what happens, for mail and for probes, by SMTP and by LMTP."""
        for lmtp, flags in KINDS:
            self.check_rows(lmtp, flags)

    def check_rows(self, lmtp: bool, flags: RequestFlags) -> None:
        """Each row for one kind of request."""
        for (scope, kind, last), verdict in VERDICTS.items():
            rules = [(start, reply.format(CODES[kind])) for start, reply in FAILING[scope]]
            engine = Engine(
                {FIRST: Script(*rules, lmtp=lmtp), SECOND: Script(lmtp=lmtp)},
                {("A", "d.test"): [FIRST] if last else [FIRST, SECOND]},
                soft_bounce=kind is Kind.HARD_BUT_SOFT_BOUNCE,
                lmtp=lmtp,
            )
            status = engine.deliver("a@d.test", nexthop="[d.test]:2500", flags=flags)
            row = f"{scope} {kind} last={last} lmtp={lmtp} {flags}"
            (result,) = engine.reporter.results
            asked_second = engine.dialer.dialled == [FIRST, SECOND]
            if verdict.disposition is Disposition.NEXT_HOST:
                self.assertTrue(asked_second and result.fate.value == "sent", row)
                continue
            self.assertFalse(asked_second, row)
            fate = {Disposition.DEFER: "deferred", Disposition.BOUNCE: "bounced"}[verdict.disposition]
            self.assertEqual(result.fate.value, fate, row)
            self.assertEqual(result.dsn.status[0], CODES[kind][0], row)
            # A destination is held back only where mail for it is left.
            self.assertEqual(status.hop_status is not None, verdict.throttles and not status.complete, row)
            self.assertEqual(status.complete, kind is Kind.HARD, row)


class LookupTests(SynchronousTestCase):
    """Each result of a look-up."""

    def check(self, zone: dict[Any, Any], expected: tuple[str, str, bool], nexthop: str = "d.test", **how: Any) -> None:
        """Deliver where the look-up fails: mail and probes."""
        for flags in (RequestFlags.SUCCESS, RequestFlags.MTA_VRFY, RequestFlags.USR_VRFY):
            engine = Engine({}, zone, **how)
            status = engine.deliver("a@d.test", nexthop=nexthop, flags=flags)
            (result,) = engine.reporter.results
            found = (result.dsn.status, result.fate.value, status.hop_status is not None)
            self.assertEqual((found, result.relay), (expected, "none"), zone)

    def test_every_result_has_a_row(self) -> None:
        """Nothing is forgotten."""
        self.assertEqual({*FATES, LookupResult.OK}, {*LookupResult})

    def test_exchangers(self) -> None:
        """Of the MX look-up."""
        for result, fate in FATES.items():
            self.check({("MX", "d.test"): result}, fate)

    def test_errors_that_are_ignored(self) -> None:
        """With ignore_mx_lookup_error errors lead to the address of the domain; decided answers do not."""
        for result, fate in FATES.items():
            zone = {("MX", "d.test"): result, ("A", "d.test"): [FIRST]}
            engine = Engine({FIRST: Script()}, zone, ignore_mx_lookup_error=True)
            engine.deliver("a@d.test", nexthop="d.test")
            sent = engine.reporter.results[0].fate.value == "sent"
            self.assertEqual(sent, result in ERRORS | {LookupResult.NOT_FOUND}, result)
            if not sent:
                self.check(zone, fate, ignore_mx_lookup_error=True)

    def test_hosts(self) -> None:
        """Of the address look-up, with both families, and with one; the worse result counts, the later one of equals."""
        for result, fate in FATES.items():
            if result in (LookupResult.NULL_MX, LookupResult.NULL_SRV):
                continue
            self.check({("A", "h.test"): result, ("AAAA", "h.test"): result}, fate, "[h.test]")
            self.check({("A", "h.test"): result}, fate, "[h.test]")
            self.check({("AAAA", "h.test"): result}, fate, "[h.test]")
            self.check({("MX", "d.test"): ["10 h.test"], ("A", "h.test"): result}, fate)

    def test_hosts_of_lmtp(self) -> None:
        """A name is a host in LMTP, with brackets and without: no mail exchanger is asked for."""
        for result, fate in FATES.items():
            if result in (LookupResult.NULL_MX, LookupResult.NULL_SRV):
                continue
            zone = {("MX", "d.test"): ["10 h.test"], ("A", "h.test"): [FIRST], ("A", "d.test"): result}
            for nexthop in ("d.test", "[d.test]", "inet:d.test:24"):
                self.check(zone, fate, nexthop, lmtp=True, default_service="24")

    def test_exchangers_without_address(self) -> None:
        """Soft failures stick to the status, the last reason stands; on request all such failures are soft."""
        for first, second, status in (
            (LookupResult.RETRY, LookupResult.NOT_FOUND, "4.4.4"),
            (LookupResult.NOT_FOUND, LookupResult.RETRY, "4.4.3"),
            (LookupResult.FAIL, LookupResult.NOT_FOUND, "5.4.4"),
            (LookupResult.POLICY, LookupResult.FAIL, "4.4.3"),
        ):
            zone = {("MX", "d.test"): ["10 h1.test", "20 h2.test"], ("A", "h1.test"): first, ("A", "h2.test"): second}
            is_soft = status[0] == "4"
            self.check(zone, (status, "deferred" if is_soft else "bounced", is_soft))
            self.check(zone, ("4" + status[1:], "deferred", True), defer_if_no_mx_address=True)

    def test_services(self) -> None:
        """Of the SRV look-up; errors may be ignored, and all else on request."""
        for result, fate in FATES.items():
            zone = {("SRV", "_smtp._tcp.d.test"): result, ("A", "d.test"): [FIRST]}
            always: dict[str, Any] = {"srv_services": lambda service: True}
            if result is not LookupResult.NULL_MX:
                self.check(zone, fate, **always)
                self.check(zone, fate, lmtp=True, **always)
            for name, ignored in (
                ("ignore_srv_lookup_error", result in ERRORS),
                ("allow_srv_lookup_fallback", True),
            ):
                how: dict[str, Any] = {name: True}
                engine = Engine({FIRST: Script()}, zone, **always, **how)
                engine.deliver("a@d.test", nexthop="d.test")
                self.assertEqual(engine.reporter.results[0].fate.value == "sent", ignored, (result, name))
