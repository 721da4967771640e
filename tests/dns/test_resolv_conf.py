"""Tests of twisted_mta.dns.resolv_conf."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns.resolv_conf import ResolvConf, ResolvConfFile, Server, parse_resolv_conf
from twisted_mta.model.events import Event, ResolverUnusable


def parse(text: str, **options: object) -> ResolvConf:
    """Read a text that is in order."""
    conf, problems = parse_resolv_conf(text, **options)  # type: ignore[arg-type]
    assert not problems, problems
    return conf


class ParseTests(SynchronousTestCase):
    """The text of the file (resolv.conf(5))."""

    def test_empty(self) -> None:
        """Without name servers the one of this machine is asked."""
        self.assertEqual(parse(""), ResolvConf(servers=(Server("127.0.0.1", 53),)))

    def test_servers(self) -> None:
        """Up to three servers, of either family, in their order."""
        text = "nameserver 192.0.2.1\nnameserver\t2001:db8::1  # first\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n"
        self.assertEqual(parse(text).servers, (Server("192.0.2.1"), Server("2001:db8::1"), Server("fe80::1%eth0")))

    def test_bad_server(self) -> None:
        """What is no address is told, with its line, and passed over."""
        conf, problems = parse_resolv_conf("# x\nnameserver ns.example\nnameserver 192.0.2.1\n")
        self.assertEqual(problems, ["line 2: no address of a name server: ns.example"])
        self.assertEqual(conf.servers, (Server("192.0.2.1"),))

    def test_comments_and_strangers(self) -> None:
        """Comments, indented lines, unknown keywords and keywords without values say nothing."""
        text = "#nameserver 192.0.2.1\n;search a.example\n nameserver 192.0.2.2\nsortlist x\nnameserver\nsearch\noptions\n\n"
        self.assertEqual(parse(text), ResolvConf())

    def test_search(self) -> None:
        """Of several lists the last one counts; dots at the end are dropped, and names that are none."""
        self.assertEqual(parse("search a.example b.example.\n").search, ("a.example", "b.example"))
        self.assertEqual(parse("search a.example\ndomain c.example d.example\n").search, ("c.example",))
        self.assertEqual(parse("domain c.example\nsearch . a!b a.example\n").search, ("a.example",))

    def test_own_domain(self) -> None:
        """Without a list the domain of this machine is searched."""
        self.assertEqual(parse("", hostname="host.dest.example").search, ("dest.example",))
        self.assertEqual(parse("", hostname="host").search, ())
        self.assertEqual(parse("search a.example", hostname="host.dest.example").search, ("a.example",))

    def test_options(self) -> None:
        """Options may stand in several lines; unknown ones are passed over."""
        text = "options ndots:2 timeout:3 attempts:4 inet6\noptions rotate edns0 use-vc no-reload trust-ad debug single-request"
        expected = ResolvConf(ndots=2, timeout=3, attempts=4, rotate=True, edns0=True, use_tcp=True, reload=False)
        self.assertEqual(parse(text), expected)

    def test_option_bounds(self) -> None:
        """Numbers are kept within bounds; what is no number is passed over."""
        conf = parse("options ndots:99 timeout:99 attempts:99")
        self.assertEqual((conf.ndots, conf.timeout, conf.attempts), (15, 30, 5))
        conf = parse("options ndots:0 timeout:0 attempts:0")
        self.assertEqual((conf.ndots, conf.timeout, conf.attempts), (0, 1, 1))
        self.assertEqual(parse("options ndots: timeout:x attempts:-1 timeout rotate:1 timeout:" + "9" * 5000).ndots, 1)

    def test_environment(self) -> None:
        """LOCALDOMAIN replaces the list; RES_OPTIONS adds options."""
        environ = {"LOCALDOMAIN": "c.example d.example", "RES_OPTIONS": "timeout:1 rotate"}
        conf = parse("search a.example\noptions timeout:9 edns0", environ=environ)
        self.assertEqual(conf.search, ("c.example", "d.example"))
        self.assertEqual((conf.timeout, conf.rotate, conf.edns0), (1, True, True))

    @settings(deadline=None)
    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever stands there, there is a server to ask."""
        conf, _ = parse_resolv_conf(text)
        self.assertTrue(1 <= len(conf.servers) <= 3)

    def test_time_limits(self) -> None:
        """The limit doubles from place to place and is shared; it is never less than a second."""
        for count, timeout, expected in [
            (1, 5, [5]),
            (2, 5, [5, 5]),
            (3, 2, [2, 1, 2]),
            (3, 1, [1, 1, 1]),
            (3, 5, [5, 3, 6]),
        ]:
            conf = ResolvConf(servers=(Server("192.0.2.1"),) * count, timeout=timeout)
            self.assertEqual([conf.seconds_for(place) for place in range(count)], expected)


class FileTests(SynchronousTestCase):
    """The file as it changes."""

    def setUp(self) -> None:
        """A file that is not there yet."""
        self.path = self.mktemp()
        self.clock = Clock()
        self.events: list[Event] = []
        self.file = ResolvConfFile(self.clock, self.events.append, self.path, hostname=lambda: "host.dest.example")

    def write(self, text: str, mtime: int = 0) -> None:
        """Change the file."""
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        os.utime(self.path, (mtime, mtime))

    def servers(self) -> list[str]:
        """Who is asked now."""
        return [server.address for server in self.file.current().servers]

    def test_absent(self) -> None:
        """Without a file the server of this machine is asked, and nothing is said; the machine's domain is searched."""
        self.assertEqual(self.servers(), ["127.0.0.1"])
        self.assertEqual(self.file.current().search, ("dest.example",))
        self.assertEqual(self.events, [])

    def test_change(self) -> None:
        """A change is noticed a second later at the latest; so is the end of the file."""
        self.write("nameserver 192.0.2.1\n")
        self.assertEqual(self.servers(), ["192.0.2.1"])
        self.write("nameserver 192.0.2.2\n", 1)
        self.clock.advance(0.9)
        self.assertEqual(self.servers(), ["192.0.2.1"])
        self.clock.advance(0.1)
        self.assertEqual(self.servers(), ["192.0.2.2"])
        os.remove(self.path)
        self.clock.advance(1)
        self.assertEqual(self.servers(), ["127.0.0.1"])

    def test_no_change(self) -> None:
        """A file that has not changed is not read again."""
        self.write("nameserver 192.0.2.1\n")
        first = self.file.current()
        self.clock.advance(5)
        self.assertIs(self.file.current(), first)

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not keep a change from being noticed."""
        self.clock.advance(1000000)
        self.assertEqual(self.servers(), ["127.0.0.1"])
        self.write("nameserver 192.0.2.1\n")
        self.clock.rightNow = 10.0
        self.assertEqual(self.servers(), ["192.0.2.1"])

    def test_no_reload(self) -> None:
        """With no-reload the first reading counts."""
        self.write("options no-reload\n")
        self.assertEqual(self.servers(), ["127.0.0.1"])
        self.write("nameserver 192.0.2.1\n", 1)
        self.clock.advance(5)
        self.assertEqual(self.servers(), ["127.0.0.1"])

    def test_bad_line(self) -> None:
        """A line that means nothing is told once."""
        self.write("nameserver ns\xe9\n")
        for _ in range(3):
            self.servers()
            self.clock.advance(1)
        problem = f"{self.path}, line 1: no address of a name server: ns\ufffd\ufffd"
        self.assertEqual(self.events, [ResolverUnusable(problem)])

    def test_unreadable(self) -> None:
        """A file that cannot be read is told, and what it said before stays."""
        self.write("nameserver 192.0.2.1\n")
        self.servers()
        os.remove(self.path)
        os.mkdir(self.path)
        self.clock.advance(1)
        self.assertEqual(self.servers(), ["192.0.2.1"])
        self.assertEqual(self.events, [ResolverUnusable(f"open {self.path}: Is a directory")])
