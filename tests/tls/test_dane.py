"""What becomes of the DANE levels (RFC 7672 section 2.2; postconf(5) smtp_tls_security_level)."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import Asking, Reached, asking, inline_table, reached
from twisted_mta.model.answers import LookupResult, Search
from twisted_mta.routing.found import Referral
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy

MX, SECOND = ("TLSA", "_25._tcp.mx.example"), ("TLSA", "_25._tcp.real.example")
ALIAS = ("CNAME", "mx.example")
GOOD, USELESS = "3 1 1 abcd", "1 1 1 abcd"
RECORD = Association(3, 1, 1, b"\xab\xcd")

SECURE_MX = Referral("dest.example", "dest.example", True)
INSECURE_MX = Referral("dest.example", "dest.example", False)

NOT_FOUND = "4.7.5 no TLSA records found"
FAILED = "4.7.5 TLSA lookup error for mx.example:25"
BAD_SETTINGS = "4.7.5 client TLS configuration problem"


def secure_server(referral: Referral | None = SECURE_MX) -> Reached:
    """A mail exchanger whose address was validated."""
    return reached(secure=True, referral=referral)


class DaneTestCase(SynchronousTestCase):
    """What tests of DANE share."""

    def world(
        self, zone: dict[tuple[str, str], list[str] | LookupResult], *insecure: tuple[str, str], **values: str
    ) -> Asking:
        """Policies at level dane, and a zone that is secure but for some names."""
        values = {"smtp_tls_security_level": "dane", "smtp_dns_support_level": "dnssec"} | values
        protocol = "lmtp" if values.pop("lmtp", "") else "smtp"
        return asking(protocol, zone=zone, secure=[name for name in zone if name not in insecure], values=values)

    def assert_dane(self, policy: TlsPolicy, base: str, level: Level = Level.DANE) -> None:
        """The records at a name decide."""
        self.assertEqual((policy.level, policy.servername, policy.associations), (level, base, (RECORD,)))
        self.assertEqual((policy.protocols, policy.exclusions, policy.matches), (">=TLSv1", "aNULL", ()))

    def assert_without(self, policy: TlsPolicy, level: Level) -> None:
        """Nothing has come of DANE."""
        self.assertEqual((policy.level, policy.associations, policy.dane_names), (level, (), ()))


class PreconditionTests(DaneTestCase):
    """Where settings, or the way to a server, make DANE impossible."""

    def assert_impossible(
        self, text: str, zone: dict[tuple[str, str], list[str] | LookupResult], **values: str
    ) -> None:
        """Level dane becomes may, dane-only cannot be had; both are told."""
        world = self.world(zone, **values)
        self.assert_without(world.policy(secure_server()), Level.MAY)
        self.assertEqual(world.lines, [f"warning: dest.example: {text.format('dane')}"])
        world = self.world(zone, smtp_tls_security_level="dane-only", **values)
        self.assertEqual(world.problem(secure_server()), BAD_SETTINGS)
        self.assertEqual(world.lines[0], f"warning: dest.example: {text.format('dane-only')}")
        self.assertEqual(world.dns.questions, [])

    def test_dnssec(self) -> None:
        """DNS must be used, with DNSSEC, for hosts too."""
        text = "{} configured with dnssec lookups disabled"
        self.assert_impossible(text, {MX: [GOOD]}, smtp_dns_support_level="enabled")
        self.assert_impossible(text, {MX: [GOOD]}, smtp_dns_support_level="", disable_dns_lookups="yes")
        self.assert_impossible(text, {MX: [GOOD]}, smtp_host_lookup="native")

    def test_ignored_errors(self) -> None:
        """An attacker must not be able to hide the mail exchangers; where there are none to be looked up he cannot."""
        self.assert_impossible(
            "{} configured with MX lookup errors ignored", {MX: [GOOD]}, ignore_mx_lookup_error="yes"
        )
        world = self.world(
            {MX: [GOOD]},
            lmtp="yes",
            lmtp_tls_security_level="dane",
            lmtp_dns_support_level="dnssec",
            ignore_mx_lookup_error="yes",
        )
        self.assertEqual(world.policy(reached("[mx.example]:25", secure=True)).level, Level.DANE)

    def test_search_list(self) -> None:
        """Names must mean what they say."""
        text = "dns resolver options incompatible with {} TLS"
        self.assert_impossible(text, {MX: [GOOD]}, smtp_dns_resolver_options="res_dnsrch")

    def test_nexthop_as_written(self) -> None:
        """Warnings name the destination as it is written."""
        world = self.world({}, smtp_dns_support_level="")
        world.policy(reached("[mx.example]:587"))
        self.assertEqual(world.lines, ["warning: [mx.example]:587: dane configured with dnssec lookups disabled"])

    def test_socket(self) -> None:
        """A local socket has no name in DNS."""
        world = self.world({}, lmtp="yes", lmtp_tls_policy_maps=inline_table({"private/socket": "dane-only"}))
        self.assertEqual(world.problem(reached("unix:private/socket", lmtp=True)), BAD_SETTINGS)
        self.assertEqual(
            world.lines,
            [
                'warning: private/socket: the "dane" security level is invalid for delivery via unix-domain sockets',
                "warning: TLS policy lookup error for client.example/private/socket: client TLS configuration problem",
            ],
        )


class InsecureMxTests(DaneTestCase):
    """Where the mail exchangers may be forged (RFC 7672 section 2.2.1; postconf(5) smtp_tls_dane_insecure_mx_policy)."""

    def test_policies(self) -> None:
        """The policy says what records of a host are worth then."""
        server = secure_server(INSECURE_MX)
        self.assert_without(self.world({MX: [GOOD]}, smtp_tls_dane_insecure_mx_policy="may").policy(server), Level.MAY)
        policy = self.world({MX: [GOOD]}, smtp_tls_dane_insecure_mx_policy="dane").policy(server)
        self.assert_dane(policy, "mx.example", Level.HALF_DANE)
        world = self.world({MX: [GOOD]}, smtp_tls_dane_insecure_mx_policy="encrypt", smtp_tls_servername="nexthop")
        policy = world.policy(server)
        self.assertEqual((policy.level, policy.servername, policy.exclusions), (Level.ENCRYPT, "dest.example", "eNULL"))

    def test_default(self) -> None:
        """Without a setting the records count as far as they can."""
        self.assertEqual(self.world({MX: [GOOD]}).policy(secure_server(INSECURE_MX)).level, Level.HALF_DANE)

    def test_nothing_asked(self) -> None:
        """With policy may the records need not be looked up."""
        world = self.world({MX: [GOOD]}, smtp_tls_dane_insecure_mx_policy="may")
        world.policy(secure_server(INSECURE_MX))
        self.assertEqual(world.dns.questions, [])

    def test_records_come_first(self) -> None:
        """No policy does more than a host without records, or with useless ones, allows."""
        server = secure_server(INSECURE_MX)
        for word in ("encrypt", "dane"):
            self.assert_without(self.world({}, smtp_tls_dane_insecure_mx_policy=word).policy(server), Level.MAY)
            useless = self.world({MX: [USELESS]}, smtp_tls_dane_insecure_mx_policy=word)
            self.assert_without(useless.policy(server), Level.ENCRYPT)

    def test_dane_only(self) -> None:
        """Level dane-only does without no signature, whatever the policy."""
        for word in ("may", "encrypt", "dane"):
            world = self.world({MX: [GOOD]}, smtp_tls_security_level="dane-only", smtp_tls_dane_insecure_mx_policy=word)
            self.assertEqual(world.problem(secure_server(INSECURE_MX)), "4.7.5 non DNSSEC destination")

    def test_no_mx(self) -> None:
        """Where there is no MX record it cannot be insecure."""
        self.assert_dane(self.world({MX: [GOOD]}).policy(secure_server(None)), "mx.example")

    def test_lmtp(self) -> None:
        """LMTP, where the answer is one of SRV records, has no such policy."""
        world = self.world(
            {MX: [GOOD]},
            lmtp="yes",
            lmtp_tls_security_level="dane",
            lmtp_dns_support_level="dnssec",
            smtp_tls_dane_insecure_mx_policy="dane",
        )
        self.assert_without(world.policy(secure_server(INSECURE_MX)), Level.MAY)


class RecordTests(DaneTestCase):
    """What the records of a server, or their absence, come to."""

    def levels(
        self, zone: dict[tuple[str, str], list[str] | LookupResult], *insecure: tuple[str, str]
    ) -> list[Level | str]:
        """What a zone means at level dane, and at level dane-only."""
        found: list[Level | str] = []
        for word in ("dane", "dane-only"):
            world = self.world(zone, *insecure, smtp_tls_security_level=word)
            result = world.find(secure_server())
            found.append(result.level if isinstance(result, TlsPolicy) else world.problem(secure_server()))
        return found

    def test_found(self) -> None:
        """Records that were validated keep the level."""
        self.assertEqual(self.levels({MX: [GOOD]}), [Level.DANE, Level.DANE_ONLY])

    def test_none(self) -> None:
        """No records, or insecure ones: anything goes, or nothing."""
        self.assertEqual(self.levels({}), [Level.MAY, NOT_FOUND])
        self.assertEqual(self.levels({MX: [GOOD]}, MX), [Level.MAY, NOT_FOUND])

    def test_useless(self) -> None:
        """Useless records still promise TLS."""
        self.assertEqual(self.levels({MX: [USELESS]}), [Level.ENCRYPT, "4.7.5 TLSA records unusable"])

    def test_failed(self) -> None:
        """Who cannot know must not guess."""
        self.assertEqual(self.levels({MX: LookupResult.RETRY}), [FAILED, FAILED])
        world = self.world({MX: LookupResult.RETRY})
        world.problem(secure_server())
        self.assertEqual(
            world.lines[-1],
            "warning: TLS policy lookup for dest.example/mx.example: TLSA lookup error for mx.example:25",
        )

    def test_by_table(self) -> None:
        """A table can say dane, and more."""
        world = self.world(
            {MX: [GOOD]},
            smtp_tls_security_level="none",
            smtp_tls_policy_maps=inline_table({"dest.example": "dane ciphers=high exclude=RC4 servername=x.example"}),
        )
        policy = world.policy(secure_server())
        self.assertEqual((policy.level, policy.grade, policy.exclusions), (Level.DANE, "high", "RC4 aNULL"))
        self.assertEqual(policy.servername, "mx.example")

    def test_opportunistic_settings(self) -> None:
        """Once dane has become may, all settings of level may count."""
        world = self.world({}, smtp_tls_protocols="TLSv1.3", smtp_tls_ciphers="high", smtp_tls_servername="hostname")
        policy = world.policy(secure_server())
        self.assertEqual(
            (policy.protocols, policy.grade, policy.exclusions, policy.servername),
            ("TLSv1.3", "high", "", "mx.example"),
        )

    def test_once_for_all_addresses(self) -> None:
        """What the first address of a host has come to holds for its others, in one request."""
        world = self.world({MX: [GOOD]}, smtp_tls_security_level="dane-only")
        self.assertEqual(world.problem(reached(referral=SECURE_MX)), NOT_FOUND)
        self.assertEqual(world.problem(secure_server()), NOT_FOUND)
        world.next_request()
        self.assert_dane(world.policy(secure_server()), "mx.example", Level.DANE_ONLY)


class NameTests(DaneTestCase):
    """At which names records are looked for (RFC 7671 section 7; RFC 7672 section 2.2.2), and which a certificate may have."""

    def alias(self, *, secure: bool) -> Reached:
        """A mail exchanger that is an alias."""
        return reached(rname="real.example", secure=secure, referral=SECURE_MX)

    def test_secure_alias(self) -> None:
        """Behind an alias that is secure all the way the real name comes first, then the alias."""
        self.assert_dane(self.world({MX: ["3 0 0 ff"], SECOND: [GOOD]}).policy(self.alias(secure=True)), "real.example")
        world = self.world({MX: [GOOD], SECOND: ["3 0 0 ff"]}, SECOND)
        self.assert_dane(world.policy(self.alias(secure=True)), "mx.example")
        self.assertEqual(world.dns.questions, ["TLSA _25._tcp.real.example", "TLSA _25._tcp.mx.example"])

    def test_useless_or_failing_first(self) -> None:
        """Useless records at the real name end the search, and so does a failure."""
        self.assert_without(self.world({MX: [GOOD], SECOND: [USELESS]}).policy(self.alias(secure=True)), Level.ENCRYPT)
        self.assertEqual(self.world({MX: [GOOD], SECOND: LookupResult.RETRY}).problem(self.alias(secure=True)), FAILED)

    def test_insecure_address(self) -> None:
        """A host that is no alias, with an insecure address, has no records that count."""
        world = self.world({MX: [GOOD]})
        self.assert_without(world.policy(reached(referral=SECURE_MX)), Level.MAY)
        self.assertEqual(world.dns.questions, [])

    def test_secure_alias_of_insecure_name(self) -> None:
        """An alias that is secure itself can have records, wherever it leads; the real name cannot."""
        world = self.world({ALIAS: ["real.example"], MX: [GOOD], SECOND: ["3 0 0 ff"]})
        self.assert_dane(world.policy(self.alias(secure=False)), "mx.example")
        self.assertEqual(world.dns.questions, ["CNAME mx.example", "TLSA _25._tcp.mx.example"])
        self.assertEqual(world.dns.options, [(True, Search.NONE)] * 2)

    def test_insecure_alias(self) -> None:
        """An insecure alias can have none."""
        world = self.world({ALIAS: ["real.example"], MX: [GOOD]}, ALIAS)
        self.assert_without(world.policy(self.alias(secure=False)), Level.MAY)
        self.assertEqual(world.dns.questions, ["CNAME mx.example"])

    def test_unknown_alias(self) -> None:
        """Whether an alias is secure must be known; one that has ceased to be one is not known."""
        for result, problem in [
            (
                LookupResult.RETRY,
                "Host or domain name not found. Name service error for name=mx.example type=CNAME: Host not found, try again",
            ),
            (LookupResult.NOT_FOUND, "no longer a CNAME"),
        ]:
            world = self.world({ALIAS: result, MX: [GOOD]})
            self.assertEqual(world.problem(self.alias(secure=False)), FAILED)
            self.assertEqual(world.lines[0], f"warning: DNSSEC status lookup error for mx.example: {problem}")

    def test_forced(self) -> None:
        """smtp_tls_force_insecure_host_tlsa_lookup asks at the name itself, without a look at its security."""
        world = self.world({MX: [GOOD], SECOND: [GOOD]}, smtp_tls_force_insecure_host_tlsa_lookup="yes")
        self.assert_dane(world.policy(reached(referral=SECURE_MX)), "mx.example")
        world.next_request()
        self.assert_dane(world.policy(self.alias(secure=False)), "mx.example")
        world.next_request()
        self.assert_dane(world.policy(self.alias(secure=True)), "real.example")

    def test_case(self) -> None:
        """Case makes no alias."""
        world = self.world({("TLSA", "_25._tcp.MX.example"): [GOOD]})
        policy = world.policy(reached(rname="MX.example", secure=True, referral=SECURE_MX))
        self.assert_dane(policy, "MX.example")
        world.next_request()
        self.assert_without(world.policy(reached(rname="MX.example", referral=SECURE_MX)), Level.MAY)

    def test_certificate_names(self) -> None:
        """A certificate may have the name with the records, and the domain, before and after aliases, if there was an MX."""
        world = self.world({MX: [GOOD]})
        self.assertEqual(world.policy(secure_server(None)).dane_names, ("mx.example",))
        for referral, names in [
            (SECURE_MX, ("mx.example", "dest.example")),
            (Referral("dest.example", "real-dest.example", True), ("mx.example", "real-dest.example", "dest.example")),
            (Referral("mx.example", "mx.example", True), ("mx.example",)),
        ]:
            world.next_request()
            self.assertEqual(world.policy(secure_server(referral)).dane_names, names)

    def test_name_in_log(self) -> None:
        """Where the server goes by its real name (smtp_cname_overrides_servername), so does the log."""
        world = self.world({SECOND: LookupResult.RETRY}, smtp_tls_security_level="dane-only")
        server = reached(rname="real.example", shown="real.example", secure=True, referral=SECURE_MX)
        self.assertEqual(world.problem(server), "4.7.5 TLSA lookup error for real.example:25")
