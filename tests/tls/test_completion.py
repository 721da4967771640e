"""What main.cf adds to the level of a policy."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import Asking, asking, inline_table, reached
from tests.tls.test_pem import armored
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy

BAD_SETTINGS = "4.7.5 client TLS configuration problem"


def with_entry(entry: str, **values: str) -> Asking:
    """Policies where a table has an entry for the destination."""
    return asking(values=values, smtp_tls_policy_maps=inline_table({"dest.example": entry}))


class CompletionTests(SynchronousTestCase):
    """`Completion`."""

    def test_main_cf_alone(self) -> None:
        """Without tables all comes from main.cf."""
        world = asking(
            smtp_tls_security_level="secure",
            smtp_tls_mandatory_ciphers="high",
            smtp_tls_exclude_ciphers="RC4",
            smtp_tls_servername="hostname",
            smtp_tls_connection_reuse="yes",
            smtp_tls_enable_rpk="yes",
        )
        self.assertEqual(
            world.policy(),
            TlsPolicy(
                Level.SECURE,
                protocols=">=TLSv1",
                grade="high",
                exclusions="RC4 aNULL",
                matches=("nexthop", "dot-nexthop"),
                servername="mx.example",
                nexthop="dest.example",
                connection_reuse=True,
                enable_rpk=True,
            ),
        )

    def test_table_alone(self) -> None:
        """What a table says replaces what main.cf says, also if that is empty or no."""
        world = with_entry(
            "verify protocols= ciphers=null exclude= match=a:b servername=x.example connection_reuse=no enable_rpk=no",
            smtp_tls_exclude_ciphers="RC4",
            smtp_tls_servername="y.example",
            smtp_tls_connection_reuse="yes",
            smtp_tls_enable_rpk="yes",
        )
        self.assertEqual(
            world.policy(),
            TlsPolicy(
                Level.VERIFY,
                protocols="",
                grade="null",
                exclusions="aNULL",
                matches=("a", "b"),
                servername="x.example",
                nexthop="dest.example",
            ),
        )

    def test_nexthop(self) -> None:
        """The domain of a destination is its name without brackets and port."""
        world = asking(smtp_tls_security_level="may", smtp_tls_servername="nexthop")
        for nexthop, domain in [
            ("dest.example", "dest.example"),
            ("[Dest.example]:587", "Dest.example"),
            ("dest.example:smtp", "dest.example"),
            ("[ipv6:2001:db8::1]", "2001:db8::1"),
            ("b\u00fccher.example", "b\u00fccher.example"),
        ]:
            policy = world.policy(reached(nexthop))
            self.assertEqual((policy.nexthop, policy.servername), (domain, domain))

    def test_servername_words(self) -> None:
        """Two words in lower case stand for names; hostname is the name by which the server goes."""
        real = reached(rname="real.example", shown="real.example")
        for setting, name in [
            ("hostname", "real.example"),
            ("nexthop", "dest.example"),
            ("HOSTNAME", "HOSTNAME"),
            ("x.example", "x.example"),
            ("", ""),
        ]:
            self.assertEqual(
                asking(smtp_tls_security_level="may", smtp_tls_servername=setting).policy(real).servername, name
            )
        self.assertEqual(
            with_entry("may servername=nexthop", smtp_tls_servername="hostname").policy(real).servername, "dest.example"
        )

    def test_bad_servername(self) -> None:
        """A name that is none matters wherever TLS is used, unless a table has another one."""
        world = with_entry("may", smtp_tls_servername="-bad")
        self.assertEqual(world.problem(), BAD_SETTINGS)
        self.assertEqual(world.lines[0], 'warning: "smtp_tls_servername = -bad" specifies an invalid hostname')
        self.assertEqual(with_entry("none", smtp_tls_servername="-bad").policy().level, Level.NONE)
        self.assertEqual(
            with_entry("may servername=hostname", smtp_tls_servername="-bad").policy().servername, "mx.example"
        )
        world = asking("lmtp", lmtp_tls_security_level="may", lmtp_tls_servername="a b")
        self.assertEqual(world.problem(), BAD_SETTINGS)
        self.assertEqual(world.lines[0], 'warning: "lmtp_tls_servername = a b" specifies an invalid hostname')

    def test_bad_servername_with_dane(self) -> None:
        """It matters even where DANE would ask for another name."""
        record = ("TLSA", "_25._tcp.mx.example")
        world = asking(
            zone={record: ["3 1 1 ab"]},
            secure=[record],
            smtp_tls_security_level="dane",
            smtp_dns_support_level="dnssec",
            smtp_tls_servername="-bad",
        )
        self.assertEqual(world.problem(reached(secure=True)), BAD_SETTINGS)
        self.assertEqual(world.dns.questions, ["TLSA _25._tcp.mx.example"])

    def test_fingerprints(self) -> None:
        """The fingerprints of a table replace those of main.cf, as far as they are such; what is none is told, and left out."""
        world = with_entry("fingerprint match=cc|ddee", smtp_tls_fingerprint_cert_match="zz, aa:BB")
        self.assertEqual((world.policy().matches, world.lines), (("cc", "ddee"), []))
        for entry, told in [("fingerprint", ["zz"]), ("fingerprint match=yy|ww", ["yy", "ww", "zz"])]:
            world = with_entry(entry, smtp_tls_fingerprint_cert_match="zz, aa:BB")
            self.assertEqual(world.policy().matches, ("aa:BB",))
            self.assertEqual(world.lines, [f"warning: malformed fingerprint value: {value}" for value in told])

    def test_no_fingerprints(self) -> None:
        """Without a single fingerprint nothing could match: the settings are wrong. The destination is named as it is written."""
        for entry in ("fingerprint", "fingerprint match=zz", "fingerprint match=||"):
            world = with_entry(entry, smtp_tls_fingerprint_cert_match="" if entry == "fingerprint" else "a")
            self.assertEqual(world.problem(), BAD_SETTINGS)
            self.assertEqual(
                world.lines[-2],
                "warning: nexthop domain dest.example: configured at fingerprint security level, but with no fingerprints to"
                " match.",
            )
        world = asking(smtp_tls_security_level="fingerprint")
        world.problem(reached("[mx.example]:25"))
        self.assertIn("nexthop domain [mx.example]:25: configured", world.lines[0])

    def test_fingerprints_told(self) -> None:
        """Fingerprints are told where that is wanted, and a digest of long ago always is."""
        world = asking(
            smtp_tls_security_level="fingerprint",
            smtp_tls_fingerprint_cert_match="ab:cd, zz",
            smtp_tls_loglevel="dane",
            compatibility_level="3.5",
        )
        world.policy()
        self.assertEqual(
            world.lines,
            [
                "using backwards-compatible default setting smtp_tls_fingerprint_digest=md5 to compute certificate fingerprints",
                "fingerprint: digest as private-use TLSA record: 3 0 255 ABCD",
                "warning: malformed fingerprint value: zz",
            ],
        )


class TrustAnchorTests(SynchronousTestCase):
    """Trust anchors, which only levels verify and secure have."""

    def setUp(self) -> None:
        """Files with an anchor each, and one with none."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        for name in ("one", "two"):
            (self.directory / name).write_bytes(armored("CERTIFICATE", name.encode()))
        (self.directory / "key").write_bytes(armored("PRIVATE KEY", b"secret"))

    def anchors(self, world: Asking) -> list[bytes]:
        """What the anchors of issuers are, in a policy."""
        anchors = world.policy().trust_anchors
        self.assertEqual(anchors[1::2], tuple(Association(3, 0, 0, anchor.data) for anchor in anchors[::2]))
        return [anchor.data for anchor in anchors[::2]]

    def test_of_all(self) -> None:
        """The files of main.cf count at levels verify and secure; names may be relative to queue_directory."""
        for level, anchors in [
            ("verify", [b"one", b"two"]),
            ("secure", [b"one", b"two"]),
            ("encrypt", []),
            ("may", []),
        ]:
            world = asking(
                smtp_tls_security_level=level,
                smtp_tls_trust_anchor_file=f"{self.directory}/one, two",
                queue_directory=str(self.directory),
            )
            self.assertEqual(self.anchors(world), anchors)

    def test_of_table(self) -> None:
        """The files of a table count instead, unless there is no anchor in them."""
        for entry, anchors in [
            (f"verify tafile={self.directory}/two", [b"two"]),
            (f"verify tafile={self.directory}/two tafile={self.directory}/one", [b"two", b"one"]),
            (f"verify tafile={self.directory}/key", [b"one"]),
        ]:
            world = with_entry(entry, smtp_tls_trust_anchor_file=f"{self.directory}/one")
            self.assertEqual(self.anchors(world), anchors)

    def test_missing(self) -> None:
        """A file that is not there makes the policy unusable."""
        for world in (
            asking(smtp_tls_security_level="verify", smtp_tls_trust_anchor_file="/nonexistent"),
            with_entry("secure tafile=/nonexistent", smtp_tls_trust_anchor_file=f"{self.directory}/one"),
        ):
            self.assertEqual(world.problem(), BAD_SETTINGS)
            self.assertEqual(
                world.lines,
                [
                    "warning: error opening trust anchor file: /nonexistent: No such file or directory",
                    "warning: TLS policy lookup for dest.example/mx.example: client TLS configuration problem",
                ],
            )

    def test_not_needed(self) -> None:
        """Where a table has anchors of its own, those of main.cf need not be there."""
        world = with_entry(f"verify tafile={self.directory}/two", smtp_tls_trust_anchor_file="/nonexistent")
        self.assertEqual(self.anchors(world), [b"two"])
