"""Values of smtp_tls_policy_maps (postconf(5))."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association
from twisted_mta.tls.policy_entry import EntryReaders, PolicyEntry, PolicyEntryError, parse_entry
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError

settings.register_profile("policy_entry", deadline=None, max_examples=100)
settings.load_profile("policy_entry")


def anchors_of(names: Iterable[str]) -> tuple[Association, ...]:
    """A pair for each file: the name stands for what is in it. There is no file named ``missing``."""
    names = tuple(names)
    if "missing" in names:
        raise TlsPolicyError(CONFIGURATION_PROBLEM)
    return tuple(Association(usage, 0, 0, name.encode("utf-8", "surrogatepass")) for name in names for usage in (2, 3))


READERS = EntryReaders(anchors_of, lambda values: tuple(value for value in values if value != "zz"))


class ParseEntryTests(SynchronousTestCase):
    """`parse_entry`."""

    def assert_refused(self, value: str, problem: str) -> None:
        """A value makes no sense."""
        with self.assertRaises(PolicyEntryError) as refused:
            parse_entry(value, READERS)
        self.assertEqual(str(refused.exception), problem)

    def test_level_alone(self) -> None:
        """A level, in any case; all else is left to main.cf."""
        self.assertEqual(parse_entry("encrypt", READERS), PolicyEntry(Level.ENCRYPT))
        self.assertEqual(parse_entry(" ,DANE-only\t", READERS), PolicyEntry(Level.DANE_ONLY))

    def test_all_attributes(self) -> None:
        """Each attribute, with names in any case, between blanks and commas."""
        self.assertEqual(
            parse_entry(
                "secure PROTOCOLS=>=TLSv1.2:<=TLSv1.3,ciphers=High exclude=RC4:aNULL match=a.example:b.example"
                " servername=hostname connection_reuse=YES enable_rpk=no tafile=one Match=:c.example tafile=two",
                READERS,
            ),
            PolicyEntry(
                Level.SECURE,
                protocols=">=TLSv1.2:<=TLSv1.3",
                grade="High",
                exclusions="RC4:aNULL",
                matches=("a.example", "b.example", "c.example"),
                trust_anchors=anchors_of(("one", "two")),
                servername="hostname",
                connection_reuse=True,
                enable_rpk=False,
            ),
        )

    def test_fingerprints(self) -> None:
        """Fingerprints, which have colons, stand between bars; what is none is left out."""
        entry = parse_entry("fingerprint match=aa:bb|cc match=dd||zz", READERS)
        self.assertEqual(entry.matches, ("aa:bb", "cc", "dd"))

    def test_nothing_to_match(self) -> None:
        """A list of nothing is a list: nothing matches, instead of what main.cf has."""
        self.assertEqual(parse_entry("verify match=:", READERS).matches, ())
        self.assertEqual(parse_entry("verify", READERS).matches, None)

    def test_empty_values(self) -> None:
        """Lists of protocols and exclusions may be empty, which is not the same as to be absent."""
        entry = parse_entry("encrypt protocols= exclude=", READERS)
        self.assertEqual((entry.protocols, entry.exclusions), ("", ""))

    def test_last_switch_counts(self) -> None:
        """Switches may stand more than once; the last one counts."""
        self.assertEqual(parse_entry("may connection_reuse=yes connection_reuse=no", READERS).connection_reuse, False)

    def test_without_tls(self) -> None:
        """At level none no attribute is even looked at."""
        self.assertEqual(
            parse_entry("none bogus=1 ciphers =x", READERS),
            PolicyEntry(Level.NONE, ignored=("bogus=1", "ciphers", "=x")),
        )

    def test_anchor_files_in_turn(self) -> None:
        """Files are read as their turn comes: what stands behind one that is missing does not matter, what stands before does."""
        with self.assertRaises(TlsPolicyError):
            parse_entry("verify tafile=missing bogus=1", READERS)
        self.assert_refused("verify bogus=1 tafile=missing", 'invalid attribute name: "bogus"')

    def test_refused(self) -> None:
        """What makes no sense, in Postfix's words."""
        for value, problem in [
            (" , ", "invalid empty policy"),
            ("strict", 'invalid security level "strict"'),
            ("halfdane", 'invalid security level "halfdane"'),
            ("half-dane", 'invalid security level "half-dane"'),
            ("encrypt ciphers", "malformed attribute/value pair \"ciphers\": missing '=' after attribute name"),
            ("encrypt ciphers = high", "malformed attribute/value pair \"ciphers\": missing '=' after attribute name"),
            ("encrypt =x", 'malformed attribute/value pair "=x": missing attribute name'),
            ("encrypt Foo=bar", 'invalid attribute name: "Foo"'),
            ("encrypt {ciphers=high}", 'invalid attribute name: "{ciphers"'),
            ("encrypt policy_type=sts", 'invalid attribute name: "policy_type"'),
            ("encrypt ciphers=", 'attribute "ciphers" has empty value'),
            ("encrypt ciphers=x ciphers=", 'attribute "ciphers" has empty value'),
            ("may match=", 'attribute "match" has empty value'),
            ("verify tafile=", 'attribute "tafile" has empty value'),
            ("encrypt CIPHERS=a ciphers=b", 'attribute "ciphers" is specified multiple times'),
            ("encrypt protocols= protocols=", 'attribute "protocols" is specified multiple times'),
            ("encrypt exclude=a exclude=a", 'attribute "exclude" is specified multiple times'),
            ("may servername=a.example servername=b.example", 'attribute "servername" is specified multiple times'),
            ("encrypt Match=x", 'attribute "Match" invalid at security level "encrypt"'),
            ("dane match=x", 'attribute "match" invalid at security level "dane"'),
            ("fingerprint tafile=/x", 'attribute "tafile" invalid at security level "fingerprint"'),
            ("encrypt servername=", '"servername=" specifies an invalid hostname'),
            ("encrypt servername=-bad", '"servername=-bad" specifies an invalid hostname'),
            ("encrypt servername=1.2.3.4", '"servername=1.2.3.4" specifies an invalid hostname'),
            ("encrypt connection_reuse=maybe", 'attribute "connection_reuse" has bad value: "maybe"'),
            ("encrypt enable_rpk=", 'attribute "enable_rpk" has bad value: ""'),
        ]:
            self.assert_refused(value, problem)

    @given(
        st.text(max_size=60)
        | st.lists(
            st.sampled_from(
                [
                    "secure",
                    "may",
                    "match=",
                    "match=a:b",
                    "tafile=x",
                    "tafile=missing",
                    "=",
                    "ciphers=a",
                    "exclude=",
                    "servername=x",
                ]
            ),
            max_size=6,
        ).map(" ".join)
    )
    def test_anything(self, value: str) -> None:
        """Any value gives an entry or an error, and the level of the entry is its first word."""
        try:
            entry = parse_entry(value, READERS)
        except (PolicyEntryError, TlsPolicyError):
            return
        self.assertEqual(entry.level.word, value.replace(",", " ").split()[0].lower())
