"""The names of kept sessions."""

import base64
from collections.abc import Callable
from dataclasses import fields, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.delivery.cache_keys import EndpointKey, KeyFields, KeyRules
from twisted_mta.model.login import Secret
from twisted_mta.routing.candidates import Candidate, Family, local_candidate
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import NO_TLS, Association, TlsPolicy

SERVER = Candidate("c.test", "10.0.0.1", 25, Family.IPV4)
PLAIN = KeyRules("smtp")
LOGINS = KeyRules("smtp", by_login=True, by_sender=True)
OLD = KeyRules("smtp", fields=KeyFields(level_of_destination=False, smtputf8=False))


class TextTests(SynchronousTestCase):
    """The text, as scache(8) has it."""

    def test_destination(self) -> None:
        """Service, nexthop, level of TLS, need for SMTPUTF8."""
        self.assertEqual(PLAIN.destination("s@c.example", "c.test", utf8=False).text, "smtp\nc.test\n0\n0\n")
        self.assertEqual(
            PLAIN.destination("s@c.example", "[c.test]:587", utf8=True, level=Level.MAY).text,
            "smtp\n[c.test]:587\n1\n1\n",
        )

    def test_endpoint(self) -> None:
        """Service, address, port, level, need for SMTPUTF8."""
        self.assertEqual(PLAIN.endpoint("s", "c.test", SERVER, utf8=False).text, "smtp\n10.0.0.1\n25\n0\n0\n")
        self.assertEqual(
            PLAIN.endpoint("s", "unix:public/x", local_candidate("client.test", "public/x"), utf8=False).text,
            "smtp\npublic/x\n0\n0\n0\n",
        )

    def test_older_versions(self) -> None:
        """Postfix 3.7 has fewer fields."""
        self.assertEqual(OLD.destination("s", "c.test", utf8=True, level=Level.MAY).text, "smtp\nc.test\n")
        self.assertEqual(
            OLD.endpoint("s", "c.test", SERVER, TlsPolicy(Level.MAY), utf8=True).text, "smtp\n10.0.0.1\n25\n1\n"
        )

    def test_logins(self) -> None:
        """Where passwords are looked up, what they are looked up by belongs to the name."""
        self.assertEqual(LOGINS.destination("a@b", "c.test", utf8=False).text, "smtp\na@b\nc.test\n0\n0\n")
        self.assertEqual(
            LOGINS.endpoint("a@b", "c.test", SERVER, utf8=False).text, "smtp\na@b\nc.test\nc.test\n10.0.0.1\n25\n0\n0\n"
        )
        by_host = KeyRules("smtp", by_login=True)
        self.assertEqual(by_host.destination("a@b", "c.test", utf8=False).text, "smtp\nc.test\n0\n0\n")
        self.assertEqual(
            by_host.endpoint("a@b", "d.test", SERVER, utf8=False).text, "smtp\nd.test\nc.test\n10.0.0.1\n25\n0\n0\n"
        )

    def test_levels(self) -> None:
        """From level fingerprint on the destination matters, too: it decides who the server must be."""
        for level in Level:
            text = PLAIN.endpoint("s", "site.test", SERVER, TlsPolicy(level), utf8=False).text
            site = "site.test\n" if level > Level.ENCRYPT else ""
            self.assertEqual(text, f"smtp\n{site}10.0.0.1\n25\n{level.value}\n0\n")

    def test_escaped(self) -> None:
        """What is empty is an asterisk; what could be mistaken is written in base64."""
        self.assertEqual(LOGINS.destination("", "c.test", utf8=False).text, "smtp\n*\nc.test\n0\n0\n")
        for odd in ("*", "a*b", "a\nb", "\n", "ä*"):
            coded = base64.b64encode(odd.encode()).decode()
            self.assertEqual(LOGINS.destination(odd, "c.test", utf8=False).text, f"smtp\n{coded}\nc.test\n0\n0\n")

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text(st.sampled_from("a*\n0 ="), max_size=4), min_size=4, max_size=4))
    def test_different_fields_differ(self, words: list[str]) -> None:
        """No two lists of fields have the same text, whatever is in them, but for base64 that somebody wrote himself."""
        one, two, three, four = words
        first = LOGINS.destination(one, two, utf8=False)
        second = LOGINS.destination(three, four, utf8=False)
        plain = all("=" not in word for word in words)
        if plain and (one, two) != (three, four):
            self.assertNotEqual(first, second)
        if (one, two) == (three, four):
            self.assertEqual(first, second)


class SameTests(SynchronousTestCase):
    """When two endpoints are the same."""

    POLICY = TlsPolicy(
        Level.SECURE, matches=("hostname",), servername="c.test", nexthop="c.test", connection_reuse=True
    )

    def key(self, policy: TlsPolicy = POLICY, rules: KeyRules = PLAIN, login: Credentials | None = None) -> EndpointKey:
        """An endpoint."""
        return rules.endpoint("s", "c.test", SERVER, policy, utf8=False, login=login)

    def test_same(self) -> None:
        """Equal policies make equal keys, and equal keys have one hash."""
        self.assertEqual(self.key(), self.key(replace(self.POLICY)))
        self.assertEqual(hash(self.key()), hash(self.key(replace(self.POLICY))))

    def test_every_part_of_a_policy(self) -> None:
        """Policies that differ in anything at all make different keys."""
        other: dict[str, object] = {
            "level": Level.VERIFY,
            "protocols": ">=TLSv1.3",
            "grade": "high",
            "exclusions": "aNULL",
            "matches": ("other.test",),
            "trust_anchors": (Association(2, 0, 1, b"x"),),
            "servername": "other.test",
            "associations": (Association(3, 1, 1, b"x"),),
            "dane_names": ("other.test",),
            "nexthop": "other.test",
            "connection_reuse": False,
            "enable_rpk": True,
        }
        for name in (field.name for field in fields(TlsPolicy)):
            changed = replace(self.POLICY, **{name: other[name]})  # type: ignore[arg-type] # as each is typed
            self.assertNotEqual(self.key(), self.key(changed), name)

    def test_who_we_are(self) -> None:
        """So do our address, the name that we say, and the login."""
        changes: list[Callable[[], EndpointKey]] = [
            lambda: self.key(rules=replace(PLAIN, sources={Family.IPV4: "10.0.0.9"})),
            lambda: self.key(rules=replace(PLAIN, hello_name="other.test")),
            lambda: self.key(login=Credentials("somebody", Secret("x"))),
        ]
        for change in changes:
            self.assertNotEqual(self.key(), change())
        login = Credentials("somebody", Secret("x"))
        self.assertEqual(self.key(login=login), self.key(login=Credentials("somebody", Secret("x"))))
        self.assertNotEqual(self.key(login=login), self.key(login=Credentials("somebody", Secret("y"))))
        self.assertNotIn("x", repr(self.key(login=login).login))
        other_family = replace(PLAIN, sources={Family.IPV6: "2001:db8::1"})
        self.assertEqual(self.key(), self.key(rules=other_family), "an address of the other family is not used")

    def test_no_tls(self) -> None:
        """A session in the clear is none that was to be encrypted."""
        self.assertNotEqual(self.key(NO_TLS), self.key(TlsPolicy(Level.MAY)))
