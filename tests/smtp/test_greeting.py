"""The dialog up to EHLO, as transcripts."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.dialog import PEER, DialogTestCase, Played, ScriptedServer, play
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, ErrorClass
from twisted_mta.smtp.capabilities import Feature, parse_discard_words
from twisted_mta.smtp.greeting import Occasion, Rebuff, Welcome, greet, introduce
from twisted_mta.smtp.settings import DialogSettings, parse_pix_words
from twisted_mta.smtp.workarounds import PixWorkarounds

SMTP = DialogSettings(hello_name="client.example", myhostname="client.example")
LMTP = replace(SMTP, lmtp=True)
OLD = Occasion("4Abc12", 1000.0)
OURSELVES = replace(PEER, detect_loops=True)

Outcome = Welcome | Rebuff


class GreetingTestCase(DialogTestCase):
    """Plays greetings."""

    def greet(self, script: str, settings: DialogSettings = SMTP) -> Played[Outcome]:
        """Play the whole phase."""
        return self.play(greet(PEER, settings, OLD), script)

    def welcome(self, script: str, settings: DialogSettings = SMTP) -> Welcome:
        """Play one that succeeds."""
        result = self.greet(script, settings).result
        assert isinstance(result, Welcome), result
        return result

    def rebuff(self, script: str, settings: DialogSettings = SMTP) -> DsnStatus:
        """Play one that does not."""
        result = self.greet(script, settings).result
        assert isinstance(result, Rebuff), result
        return result.why


class UsualTests(GreetingTestCase):
    """Servers that are glad to see us."""

    def test_ehlo(self) -> None:
        """The usual way: greeting, EHLO, and what the server offers."""
        found = self.welcome(
            """
            S: 220 mx.example ESMTP
            C: EHLO client.example
            S: 250-mx.example | 250-PIPELINING | 250 DSN
            """
        )
        self.assertEqual(found.capabilities.features, Feature.ESMTP | Feature.PIPELINING | Feature.DSN)

    def test_tables_are_asked_when_it_matters(self) -> None:
        """About workarounds behind the greeting of a PIX firewall, about keywords behind the reply to EHLO; HELO has none."""
        asking = replace(SMTP, asks_discard_maps=True, asks_pix_maps=True, discard=frozenset({"dsn"}))
        found = self.welcome(
            """
            S: 220 ****
            C: (asks smtp_pix_workaround_maps for 192.0.2.1)
            C: HELO client.example
            S: 250 mx.example
            """,
            asking,
        )
        self.assertEqual(found.pix, PixWorkarounds(disable_esmtp=True, delay_dot=True))
        found = self.welcome(
            """
            S: 220 mx.example
            C: EHLO client.example
            S: 250-mx.example | 250-SIZE | 250 DSN
            C: (asks smtp_discard_ehlo_keyword_address_maps for 192.0.2.1)
            """,
            asking,
        )
        self.assertEqual(found.capabilities.features, Feature.ESMTP | Feature.SIZE)

    def test_any_2xx(self) -> None:
        """Any 2xx will do, for both."""
        self.welcome(
            """
            S: 200 hello
            C: EHLO client.example
            S: 299 mx.example
            """
        )

    def test_many_lines(self) -> None:
        """A greeting may have many lines; the last one decides."""
        self.welcome(
            """
            S: 554-mx.example | 220-we do not like spam | 220 ESMTP
            C: EHLO client.example
            S: 250 mx.example
            """
        )

    def test_lmtp(self) -> None:
        """LMTP says LHLO, whatever the greeting says (RFC 2033 section 4.1)."""
        found = self.welcome(
            """
            S: 220 mx.example
            C: LHLO client.example
            S: 250-mx.example | 250 8BITMIME
            """,
            replace(LMTP, always_send_ehlo=False, never_send_ehlo=True),
        )
        self.assertTrue(found.capabilities.offers(Feature.EIGHTBITMIME))

    def test_garbage_is_passed_over(self) -> None:
        """Lines that are no replies are passed over."""
        for script in (
            """
            S: hello | 220 mx.example ESMTP
            C: EHLO client.example
            S: huh | 250 mx.example
            """,
            """
            S: 220 mx.example ESMTP
            C: EHLO client.example
            S: 500 what?
            C: HELO client.example
            S: 25 | 250 mx.example
            """,
        ):
            self.assertFalse(self.welcome(script).capabilities.offers(Feature.PIPELINING))


class TroubleTests(GreetingTestCase):
    """Refusals that the postmaster may want to hear of: the server seems not to understand us."""

    def test_greetings(self) -> None:
        """Of greetings, all but honest refusals."""
        codes = ("500", "504", "509", "555", "354", "150", "600", "421", "450", "510", "550", "554", "599")
        troubled = [code for code in codes if self.greet(f"S: {code} no\n").troubles is ErrorClass.PROTOCOL]
        self.assertEqual(troubled, ["500", "504", "509", "555", "354", "150", "600"])

    def test_ehlo_is_tried(self) -> None:
        """A server need not know EHLO."""
        played = self.greet(
            """
            S: 220 mx.example
            C: EHLO client.example
            S: 500 what?
            C: HELO client.example
            S: 250 mx.example
            """
        )
        self.assertEqual(played.troubles, ErrorClass.NONE)

    def test_helo(self) -> None:
        """It must know HELO."""
        played = self.greet(
            """
            S: 220 mx.example
            C: EHLO client.example
            S: 500 what?
            C: HELO client.example
            S: 502 what?
            """
        )
        self.assertEqual(played.troubles, ErrorClass.PROTOCOL)


class WhichHelloTests(GreetingTestCase):
    """EHLO or HELO."""

    HELO = """
        S: {greeting}
        C: HELO client.example
        S: 250 mx.example
        """
    EHLO = HELO.replace("HELO", "EHLO")

    def says(self, word: str, greeting: str, settings: DialogSettings) -> None:
        """A server with this greeting hears this word."""
        template = self.EHLO if word == "EHLO" else self.HELO
        self.welcome(template.format(greeting=greeting), settings)

    def test_esmtp_in_greeting(self) -> None:
        """Without smtp_always_send_ehlo the word ESMTP in the greeting calls for EHLO, even in the place of a name."""
        choosy = replace(SMTP, always_send_ehlo=False)
        self.says("EHLO", "220 mx.example here esmtp ready", choosy)
        self.says("EHLO", "220-mx.example | 220 ESMTP", choosy)
        self.says("EHLO", "220 ESMTP mx.example", choosy)
        self.says("EHLO", "220-ESMTP | 220 mx.example", choosy)
        self.says("HELO", "220 mx.example ESMTPX", choosy)
        self.says("HELO", "220", choosy)

    def test_first_separator(self) -> None:
        """One separator ends the code: what follows a second one is a word of its own."""
        self.says("EHLO", "220-- ESMTP | 220 x", replace(SMTP, always_send_ehlo=False))

    def test_never(self) -> None:
        """smtp_never_send_ehlo wins over everything."""
        self.says("HELO", "220 mx.example ESMTP", replace(SMTP, never_send_ehlo=True))

    def test_ehlo_refused(self) -> None:
        """A server that does not like EHLO, with 4xx or 5xx, hears HELO, and offers nothing."""
        for code in (354, 450, 500, 502, 554, 600):
            found = self.welcome(
                f"""
                S: 220 mx.example ESMTP
                C: EHLO client.example
                S: {code} no | 250 DSN
                C: HELO client.example
                S: 250-mx.example | 250 PIPELINING
                """.replace(" | 250 DSN", "")
            )
            self.assertEqual(found.capabilities.features, Feature.NONE)

    def test_second_pass(self) -> None:
        """Within TLS EHLO is said without a new greeting, and refused again, HELO."""
        played = self.play(
            introduce(PEER, replace(SMTP, never_send_ehlo=True), extended=True),
            """
            C: EHLO client.example
            S: 502 no
            C: HELO client.example
            S: 250 mx.example
            """,
        )
        assert isinstance(played.result, Welcome)
        self.assertEqual(played.result.capabilities.features, Feature.NONE)


class RebuffTests(GreetingTestCase):
    """Servers that want nothing of us."""

    def greeted(self, code: str, settings: DialogSettings = SMTP) -> str:
        """The status that follows from a greeting."""
        return self.rebuff(f"S: {code} go away", settings).status

    def test_greeting_4xx(self) -> None:
        """A soft failure with the server's words."""
        why = self.rebuff("S: 421-4.3.2 not now | 421 4.3.2 later")
        self.assertEqual(why.status, "4.3.2")
        self.assertEqual(
            why.reason, "host mx.example[192.0.2.1] refused to talk to me: 421-4.3.2 not now 421 4.3.2 later"
        )
        self.assertEqual((why.diag_type, why.diag_text), ("smtp", "421-4.3.2 not now 421 4.3.2 later"))
        self.assertEqual((why.mta_type, why.mta_name), ("dns", "mx.example"))

    def test_greeting_5xx(self) -> None:
        """Soft, with the first digit changed and nothing else, unless smtp_skip_5xx_greeting is off."""
        self.assertEqual(self.greeted("554 5.7.1"), "4.7.1")
        self.assertEqual(self.greeted("554"), "4.0.0")
        self.assertEqual(self.greeted("554 5.7.1", replace(SMTP, skip_5xx_greeting=False)), "5.7.1")
        self.assertIn("554 5.7.1", self.rebuff("S: 554 5.7.1 x").reason)

    def test_greeting_of_no_class(self) -> None:
        """A greeting that neither grants nor refuses is a permanent failure."""
        for code in ("150", "354", "650", "999"):
            self.assertEqual(self.greeted(code), "5.5.0")

    def test_ehlo_421(self) -> None:
        """421 is no dislike of EHLO: the server leaves."""
        why = self.rebuff(
            """
            S: 220 mx.example ESMTP
            C: EHLO client.example
            S: 421 4.3.2 bye
            """
        )
        self.assertEqual(why.status, "4.3.2")

    def test_helo_refused(self) -> None:
        """After HELO there is nothing else to say: 5xx is final, smtp_skip_5xx_greeting or not."""
        for reply, status in {"550 5.7.1 no": "5.7.1", "450 no": "4.0.0", "354 no": "5.5.0"}.items():
            why = self.rebuff(
                f"""
                S: 220 mx.example ESMTP
                C: EHLO client.example
                S: 502 what
                C: HELO client.example
                S: {reply}
                """
            )
            self.assertEqual((why.status, why.reason), (status, f"host {PEER.namaddr} refused to talk to me: {reply}"))

    def test_lhlo_refused(self) -> None:
        """LHLO has no alternative."""
        why = self.rebuff(
            """
            S: 220 mx.example LMTP
            C: LHLO client.example
            S: 500 5.5.1 what
            """,
            LMTP,
        )
        self.assertEqual(why.status, "5.5.1")


class LostTests(GreetingTestCase):
    """Connections that break."""

    def breaks(self, script: str, text: str, settings: DialogSettings = SMTP) -> None:
        """Play a script that ends with this reason."""
        error = self.greet(script, settings).error
        assert isinstance(error, ConnectionBrokenError)
        self.assertEqual(error.why(PEER), DsnStatus("4.4.2", text))

    def test_while_waiting_for_the_greeting(self) -> None:
        """Lost, or too late."""
        text = "{} mx.example[192.0.2.1] {}while receiving the initial server greeting"
        self.breaks("S: (lost)", text.format("lost connection with", ""))
        self.breaks("S: 220-mx | (timeout)", text.format("conversation with", "timed out "))

    def test_later(self) -> None:
        """The text names the command."""
        text = "lost connection with mx.example[192.0.2.1] while performing the {} handshake"
        ehlo = "S: 220 mx\nC: EHLO client.example\nS: "
        self.breaks(ehlo + "(lost)", text.format("EHLO"))
        self.breaks(ehlo + "502 no\nC: HELO client.example\nS: (lost)", text.format("HELO"))
        self.breaks("S: 220 mx\nC: LHLO client.example\nS: (lost)", text.format("LHLO"), LMTP)


class LoopTests(GreetingTestCase):
    """Meeting ourselves."""

    SCRIPT = """
        S: 220 CLIENT.example ESMTP
        C: EHLO client.example
        S: 250-Client.Example | 250 DSN
        """

    def test_loop(self) -> None:
        """A server with our own name is ourselves: the best host ends it all, another one only for now."""
        for is_best, status in {True: "5.4.6", False: "4.4.6"}.items():
            peer = replace(OURSELVES, is_best=is_best)
            played = self.play(greet(peer, SMTP, OLD), self.SCRIPT)
            self.assertEqual(played.result, Rebuff(DsnStatus(status, "mail for dest.example loops back to myself")))
            self.assertEqual(
                played.events,
                [
                    events.GreetedWithOwnName(PEER.relay, "client.example"),
                    events.RepliedWithOwnName(PEER.relay, "client.example"),
                ],
            )

    def test_greeting_alone(self) -> None:
        """Our name in the greeting is only worth a warning."""
        played = self.play(greet(OURSELVES, SMTP, OLD), self.SCRIPT.replace("Client.Example", "other.example"))
        self.assertIsInstance(played.result, Welcome)
        self.assertEqual(played.events, [events.GreetedWithOwnName(PEER.relay, "client.example")])

    def test_not_looked_for(self) -> None:
        """On other ports than 25 nobody looks."""
        played = self.play(greet(PEER, SMTP, OLD), self.SCRIPT)
        self.assertIsInstance(played.result, Welcome)
        self.assertEqual(played.events, [])

    def test_helo_is_not_read(self) -> None:
        """The reply to HELO is not read."""
        played = self.play(
            greet(OURSELVES, SMTP, OLD),
            """
            S: 220 mx.example
            C: EHLO client.example
            S: 502 no
            C: HELO client.example
            S: 250 client.example
            """,
        )
        self.assertIsInstance(played.result, Welcome)


class PixTests(GreetingTestCase):
    """The greeting of a firewall that masks it (postconf(5) smtp_pix_workarounds)."""

    MASKED = """
        S: {}
        C: HELO client.example
        S: 250 mx.example
        """

    def pix(
        self, greeting: str, settings: DialogSettings = SMTP, occasion: Occasion = OLD
    ) -> tuple[PixWorkarounds, str]:
        """The workarounds for a greeting, and what the log says."""
        played = self.play(greet(PEER, settings, occasion), self.MASKED.format(greeting))
        assert isinstance(played.result, Welcome)
        event = played.events[0]
        assert isinstance(event, events.PixWorkaroundsEnabled)
        self.assertEqual((event.queue_id, event.relay), ("4Abc12", PEER.relay))
        return played.result.pix, event.words

    def test_masked(self) -> None:
        """Nothing but 2, 0, blanks and asterisks: no EHLO, and a delay of the dot."""
        for greeting in ("220 **********2****02**0", "220", "*** | 220 **"):
            self.assertEqual(self.pix(greeting), (PixWorkarounds(True, True), "disable_esmtp delay_dotcrlf"))

    def test_not_masked(self) -> None:
        """One other character, and it is no PIX."""
        played = self.greet("S: 220 ****x\nC: EHLO client.example\nS: 250 mx.example")
        self.assertEqual(played.events, [])

    def test_young_message(self) -> None:
        """A message younger than smtp_pix_workaround_threshold_time is not delayed; one that is as old is."""
        for age, words in {499.9: "disable_esmtp", 500.0: "disable_esmtp delay_dotcrlf"}.items():
            self.assertEqual(self.pix("220 **", occasion=Occasion("4Abc12", age))[1], words)

    def test_chosen_workarounds(self) -> None:
        """The list is told even if nothing of it is left; without a list there is nothing."""
        only_delay = replace(SMTP, pix_workarounds=frozenset({"delay_dotcrlf"}), never_send_ehlo=True)
        self.assertEqual(self.pix("220 **", only_delay), (PixWorkarounds(False, True), "delay_dotcrlf"))
        self.assertEqual(self.pix("220 **", only_delay, Occasion("4Abc12"))[1], "")
        played = self.greet("S: 220 **\nC: EHLO client.example\nS: 250 mx", replace(SMTP, pix_workarounds=frozenset()))
        self.assertEqual(played.events, [])

    def test_unknown_workarounds(self) -> None:
        """A list of words that mean nothing is a list: it is told, and has no effect."""
        unknown = replace(SMTP, pix_workarounds=parse_pix_words(["fly"]), never_send_ehlo=True)
        self.assertEqual(self.pix("220 **", unknown), (PixWorkarounds(False, False), ""))
        self.assertEqual(parse_pix_words([""]), frozenset())

    def test_lmtp(self) -> None:
        """LMTP has no HELO to fall back to."""
        self.MASKED = self.MASKED.replace("HELO", "LHLO")
        self.assertTrue(self.pix("220 **", LMTP)[0].delay_dot)


class KeywordTests(GreetingTestCase):
    """What is told of the EHLO reply."""

    def events_of(self, *lines: str, settings: DialogSettings = SMTP) -> list[events.Event]:
        """What is logged of an EHLO reply with these lines."""
        reply = " | ".join(["250-mx.example", *(f"250-{line}" for line in lines), "250 ok"])
        return self.greet(f"S: 220 mx.example\nC: EHLO client.example\nS: {reply}", settings).events

    def test_discarded(self) -> None:
        """What is discarded is told, whether or not it was offered."""
        choosy = replace(SMTP, discard=parse_discard_words(("dsn", "auth")))
        self.assertEqual(self.events_of(settings=choosy), [events.EhloKeywordsDiscarded("AUTH DSN")])

    def test_bad_size(self) -> None:
        """A size that is no number is told."""
        self.assertEqual(self.events_of("SIZE many"), [events.SizeLimitUnreadable("many", PEER.relay)])

    def test_smtputf8_needs_8bitmime(self) -> None:
        """A server with SMTPUTF8 has 8BITMIME, whatever it says (RFC 6531 section 3.1)."""
        played = self.greet("S: 220 mx\nC: EHLO client.example\nS: 250-mx | 250 SMTPUTF8")
        self.assertEqual(played.events, [events.SmtpUtf8Without8BitMime(PEER.namaddr)])
        assert isinstance(played.result, Welcome)
        self.assertTrue(played.result.capabilities.offers(Feature.EIGHTBITMIME))
        self.assertEqual(self.events_of("SMTPUTF8", "8BITMIME"), [])


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["220 mx ESMTP", "220 **", "220", "250-mx", "250 DSN", "502 no", "421 x", "(lost)", "(timeout)"]
        ),
        st.text("2503-* xE", min_size=1, max_size=8).filter(lambda line: " | " not in line and line.strip() == line),
    ),
    max_size=6,
)


class AnyServerTests(DialogTestCase):
    """Whatever a server says."""

    @settings(max_examples=200, deadline=None)
    @given(LINES, st.sampled_from([SMTP, LMTP, replace(SMTP, skip_5xx_greeting=False, always_send_ehlo=False)]))
    def test_ends(self, lines: list[str], dialog: DialogSettings) -> None:
        """The phase ends with a welcome, a rebuff that is no success, or a broken connection."""
        script = "S: " + " | ".join([*lines, "(lost)"])
        played = play(greet(OURSELVES, dialog, OLD), ScriptedServer(script))
        self.assertEqual(played.findings, [])
        if isinstance(played.result, Rebuff):
            self.assertIn(played.result.why.status[0], "45")
        elif played.result is None:
            assert isinstance(played.error, ConnectionBrokenError)
            self.assertIn(played.error.breakage, (Breakage.LOST, Breakage.TIMED_OUT))
