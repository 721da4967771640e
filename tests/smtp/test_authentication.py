"""The AUTH dialog, as transcripts."""

import base64
import hmac
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface import implementer

from tests.kit.dialog import PEER, DialogTestCase, Played, ScriptedServer, play
from tests.sasl.logins import login, mechanism
from tests.sasl.test_scram import SHA1_FINAL, SHA1_FIRST, conversation
from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.login import Confidential, Login, Secret
from twisted_mta.model.sasl_events import RefusalExplained, SaslTrouble
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, ErrorClass, Write
from twisted_mta.smtp.authentication import (
    LONGEST_COMMAND,
    MOST_CHALLENGES,
    Authentication,
    AuthTerms,
    authenticate,
    cannot_authenticate,
    decode_base64,
    nothing_offered,
    refused_before,
)
from twisted_mta.smtp.reply import Reply

TERMS = AuthTerms()
HARD = AuthTerms(soft_bounce=False)
ERROR = base64.b64encode(b'{"status":"401"}').decode()


def confidential(secret: Secret) -> Confidential:
    """What nobody may see."""
    words = Confidential()
    words.add(secret.reveal())
    return words


class AuthTestCase(DialogTestCase):
    """Plays logins."""

    def log_in(
        self, name: str, script: str, of: Login | None = None, terms: AuthTerms = TERMS
    ) -> Played[Authentication]:
        """Play a login."""
        of = of or login("user", "secret")
        return self.play(authenticate(PEER, mechanism(name, of), terms, confidential(of.password)), script)

    def why(self, name: str, script: str, of: Login | None = None, terms: AuthTerms = TERMS) -> DsnStatus:
        """Why a login fails."""
        result = self.log_in(name, script, of, terms).result
        assert result is not None and result.rebuff is not None
        return result.rebuff.why

    def succeeds(self, name: str, script: str, of: Login | None = None) -> None:
        """Play a login that succeeds."""
        self.assertEqual(self.log_in(name, script, of).result, Authentication())


class UsualTests(AuthTestCase):
    """Logins that succeed."""

    def test_initial_response(self) -> None:
        """What is to be said first goes along with AUTH."""
        self.succeeds(
            "PLAIN",
            """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 235 2.7.0 Authentication successful
            """,
        )

    def test_challenges(self) -> None:
        """Challenges are answered one by one; any 3xx is one, any 2xx the end."""
        self.succeeds(
            "LOGIN",
            """
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: dXNlcg==
            S: 399 UGFzc3dvcmQ6
            C: c2VjcmV0
            S: 299-welcome | 299 user
            """,
        )

    def test_empty_challenge(self) -> None:
        """A challenge may be empty."""
        self.succeeds(
            "LOGIN",
            """
            C: AUTH LOGIN
            S: 334
            C: dXNlcg==
            S: 334 UGFzc3dvcmQ6
            C: c2VjcmV0
            S: 235 ok
            """,
        )

    def test_separators(self) -> None:
        """A challenge stands behind the first blank, tab, hyphen or line end, as in smtp(8)."""
        for text in ("334 YQ==", "334-YQ==", "334\tYQ==", "334\nYQ=="):
            dialog = authenticate(PEER, mechanism("CRAM-MD5", login("u", "pw")), TERMS, Confidential())
            next(dialog)
            dialog.send(None)
            answer = dialog.send(Reply(334, "2.0.0", text))
            expected = base64.b64encode(b"u " + hmac.new(b"pw", b"a", "md5").hexdigest().encode())
            self.assertEqual(answer, Write(expected + b"\r\n"))

    def test_long_initial_response(self) -> None:
        """What does not fit into 512 octets waits for an empty challenge (RFC 5321 section 4.5.3.1.4)."""
        fits = (LONGEST_COMMAND - len("AUTH PLAIN \r\n")) // 4 * 3 - len("\0user\0")
        for octets in (fits, fits + 1):
            password = "x" * octets
            response = base64.b64encode(f"\0user\0{password}".encode()).decode()
            script = f"C: AUTH PLAIN {response}\nS: 235 ok"
            if octets > fits:
                script = f"C: AUTH PLAIN\nS: 334\nC: {response}\nS: 235 ok"
            self.succeeds("PLAIN", script, login("user", password))

    def test_empty_initial_response(self) -> None:
        """One that is empty waits, too; later ones are empty lines."""
        self.succeeds(
            "EXTERNAL",
            """
            C: AUTH EXTERNAL
            S: 334
            C:
            S: 235 ok
            """.replace("C:\n", "C: \n"),
        )

    def test_both_prove_themselves(self) -> None:
        """SCRAM, with the server's signature as a challenge that is answered with an empty line."""
        made = conversation(login())
        first, final = (base64.b64encode(message).decode() for message in (SHA1_FIRST, SHA1_FINAL))
        played = play(
            authenticate(PEER, made, TERMS, confidential(Secret("pencil"))),
            ScriptedServer(f"S: 334 {first}\nS: 334 {final}\nS: 235 ok"),
        )
        self.assertEqual(played.result, Authentication())
        self.assertEqual(played.rows[-2:], ["C: ", "S: 235 ok"])


class RefusedTests(AuthTestCase):
    """Logins that the server refuses."""

    def test_soft_bounce(self) -> None:
        """A refusal for good defers mail, unless the parameter says otherwise."""
        script = """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 535 5.7.8 Error: authentication failed
            """
        reason = f"SASL authentication failed; server {PEER.namaddr} said: 535 5.7.8 Error: authentication failed"
        why = self.why("PLAIN", script)
        diagnosis = "535 5.7.8 Error: authentication failed"
        self.assertEqual(why, DsnStatus("4.7.8", reason, "", "smtp", diagnosis, "dns", "mx.example"))
        self.assertEqual(self.why("PLAIN", script, terms=HARD), replace(why, status="5.7.8"))
        self.assertEqual(self.why("PLAIN", script, terms=AuthTerms(lmtp=True)).diag_type, "lmtp")

    def test_temporary(self) -> None:
        """A temporary failure is one."""
        script = """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 454 4.7.0 Temporary authentication failure
            """
        self.assertEqual(self.why("PLAIN", script, terms=HARD).status, "4.7.0")

    def test_strange_codes(self) -> None:
        """A code of no meaning is a hard error even then, as in smtp(8), and smells of a misunderstanding."""
        script = """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 150 what
            """
        self.assertEqual(self.why("PLAIN", script).status, "5.5.0")
        self.assertEqual(self.log_in("PLAIN", script).troubles, ErrorClass.PROTOCOL)
        self.assertEqual(self.log_in("PLAIN", "C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 no").troubles, ErrorClass.NONE)

    def test_many_lines(self) -> None:
        """The lines of a reply stay apart in the reason, where the log shows question marks, but not in the diagnosis."""
        script = """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 535-5.7.8 one | 535 5.7.8 two
            """
        why = self.why("PLAIN", script)
        self.assertTrue(why.reason.endswith("said: 535-5.7.8 one\n535 5.7.8 two"), why)
        self.assertEqual(why.diag_text, "535-5.7.8 one 535 5.7.8 two")

    def test_after_challenges(self) -> None:
        """A server may refuse at any time; the reply goes along, so that it can be remembered."""
        result = self.log_in(
            "LOGIN",
            """
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: dXNlcg==
            S: 535 5.7.8 unknown
            """,
        ).result
        assert result is not None and result.refusal is not None
        self.assertEqual(result.refusal.code, 535)

    def test_explanation(self) -> None:
        """What a server says of a token in its own way goes into the log (RFC 7628 section 3.2.2)."""
        played = self.log_in(
            "XOAUTH2",
            f"""
            C: AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHNlY3JldAEB
            S: 334 {ERROR}
            C:
            S: 535 5.7.8 no
            """.replace("C:\n", "C: \n"),
        )
        self.assertEqual(played.events, [RefusalExplained(PEER.relay, "XOAUTH2", '{"status":"401"}')])

    def test_cached(self) -> None:
        """A refusal that is remembered shows its first line."""
        why = refused_before(PEER, "5.7.8", "535-5.7.8 one\n535 5.7.8 two", TERMS)
        reason = "SASL [CACHED] authentication failed; server mx.example said: 535-5.7.8 one"
        diagnosis = "535-5.7.8 one 535 5.7.8 two"
        self.assertEqual(why, DsnStatus("4.7.8", reason, "", "smtp", diagnosis, "dns", "mx.example"))
        self.assertEqual(refused_before(PEER, "5.7.8", "535 no", HARD).status, "5.7.8")


class OwnFailureTests(AuthTestCase):
    """Logins that fail on our side."""

    def problem(self, name: str, script: str, of: Login | None = None) -> str:
        """What went wrong, and that nothing more is said."""
        why = self.why(name, script, of)
        self.assertEqual((why.status, why.diag_type, why.mta_type), ("4.7.0", "x-sasl", ""))
        prefix = f"SASL authentication failed; cannot authenticate to server {PEER.namaddr}: "
        self.assertEqual(why.reason, prefix + why.diag_text)
        return why.diag_text

    def test_bad_base64(self) -> None:
        """Challenges that are no base64, in the words of the Cyrus library; nothing answers them."""
        for challenge, problem in {
            "!!!": "another step is needed in authentication",
            "VXNlcm5hbWU": "another step is needed in authentication",
            "AAAA%%%%": "bad protocol / cancel",
            "AA==AAAA": "bad protocol / cancel",
        }.items():
            self.assertEqual(
                self.problem(
                    "LOGIN",
                    f"""
                    C: AUTH LOGIN
                    S: 334 {challenge}
                    """,
                ),
                problem,
            )

    def test_challenge_of_many_lines(self) -> None:
        """A challenge on several lines is none."""
        script = """
            C: AUTH LOGIN
            S: 334-VXNl | 334 VXNl
            """
        self.assertEqual(self.problem("LOGIN", script), "bad protocol / cancel")

    def test_too_many_challenges(self) -> None:
        """After the last answer a challenge makes no sense."""
        script = """
            C: AUTH PLAIN AHVzZXIAc2VjcmV0
            S: 334 VXNl
            """
        played = self.log_in("PLAIN", script)
        self.assertEqual(
            played.events, [SaslTrouble("SASL authentication problem: attempting client step after doneflag")]
        )
        self.assertEqual(self.problem("PLAIN", script), "generic failure")

    def test_endless_challenges(self) -> None:
        """A hundred challenges are enough, whatever the mechanism."""

        @implementer(ISASLMechanism)
        class Patient:
            """A mechanism that answers for ever."""

            name, remark = "X-PATIENT", ""

            def start(self) -> None:
                """Nothing."""

            def step(self, challenge: bytes) -> bytes:
                """An answer."""
                return b"more"

            def succeeded(self) -> None:
                """Never."""

        played = play(authenticate(PEER, Patient(), TERMS, Confidential()), ScriptedServer("S: 334 YQ==\n" * 1000))
        assert played.result is not None and played.result.rebuff is not None
        why = played.result.rebuff.why
        self.assertEqual(why.status, "4.3.0")
        self.assertEqual(
            why.reason, f"SASL authentication failed; authentication protocol loop with server {PEER.namaddr}"
        )
        self.assertEqual(sum(row.startswith("S:") for row in played.rows), MOST_CHALLENGES + 1)

    def test_challenge_instead_of_an_empty_one(self) -> None:
        """Where an empty challenge must come, another one ends the login; the password is neither sent nor shown."""
        of = login("user", "secret" * 100)
        why = self.why(
            "PLAIN",
            """
            C: AUTH PLAIN
            S: 334 VXNl
            """,
            of,
        )
        self.assertEqual(
            why,
            DsnStatus(
                "4.7.0", f"SASL authentication failed; non-empty initial PLAIN challenge from server {PEER.namaddr}"
            ),
        )

    def test_nothing_to_say(self) -> None:
        """A login that cannot begin says nothing at all."""
        played = self.log_in("PLAIN", "", login(""))
        self.assertEqual(played.rows, [])
        self.assertEqual(played.events, [SaslTrouble("SASL authentication failure: All-whitespace username.")])

    def test_no_proof(self) -> None:
        """A server that says yes without a proof that it owes is refused."""
        challenge = base64.b64encode(b"nonce=n,algorithm=md5-sess").decode()
        played = play(
            authenticate(PEER, mechanism("DIGEST-MD5", login()), TERMS, Confidential()),
            ScriptedServer(f"S: 334 {challenge}\nS: 235 ok"),
        )
        assert played.result is not None and played.result.rebuff is not None
        self.assertEqual(played.result.rebuff.why.diag_text, "server failed mutual authentication step")


class LostTests(AuthTestCase):
    """Connections that break."""

    def test_words(self) -> None:
        """Postfix counts the login as part of EHLO or LHLO."""
        for terms, word in ((TERMS, "EHLO"), (AuthTerms(lmtp=True), "LHLO")):
            for breakage, text in (("(lost)", "lost connection with"), ("(timeout)", "conversation with")):
                dialog = authenticate(PEER, mechanism("PLAIN", login()), terms, Confidential())
                played = play(dialog, ScriptedServer(f"S: {breakage}"))
                error = played.error
                assert isinstance(error, ConnectionBrokenError)
                reason = error.why(PEER).reason
                self.assertTrue(reason.startswith(text), reason)
                self.assertTrue(reason.endswith(f"while performing the {word} handshake"), reason)
                self.assertIsNot(error.breakage, Breakage.LOCAL_ERROR)


class DecodingTests(DialogTestCase):
    """Base64 as the Cyrus library reads it."""

    def test_values(self) -> None:
        """What is read."""
        for text, wanted in {
            "": b"",
            "QUJD": b"ABC",
            "QQ==": b"A",
            "QR==": b"A",
            "QUJ=": b"AB",
            "AAAAAA==": bytes(4),
        }.items():
            self.assertEqual(decode_base64(text), wanted)

    def test_refused(self) -> None:
        """What is not."""
        partial = ["!!!", "AAAA!", "AAAA=", "AAAA ", "AAAA\r", "=", "QQ", "Q", "QUJ"]
        bad = [
            "!!!!",
            "AA==AAAA",
            "AA==A",
            "AA=A",
            "A===",
            "AAAAA===",
            "AAAA====",
            "AAAA\n334 AAA",
            " AAAA",
            "AAAA    ",
            "====",
        ]
        for texts, problem in ((partial, "another step is needed in authentication"), (bad, "bad protocol / cancel")):
            for text in texts:
                self.assertEqual(self.assertRaises(SaslError, decode_base64, text).problem, problem, text)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=50))
    def test_round_trip(self, data: bytes) -> None:
        """What others encode is decoded."""
        self.assertEqual(decode_base64(base64.b64encode(data).decode()), data)


class ReasonTests(DialogTestCase):
    """Texts for the log and for reports."""

    def test_reasons(self) -> None:
        """Those that no reply of the server is behind."""
        self.assertEqual(
            nothing_offered(PEER).reason,
            f"SASL authentication failed: server {PEER.namaddr} offered no compatible authentication mechanisms"
            " for this type of connection security",
        )
        self.assertEqual(cannot_authenticate(PEER, "no mechanism available").diag_type, "x-sasl")


class SecretTests(AuthTestCase):
    """Passwords are never shown, whatever the server says."""

    def shown(self, played: Played[Authentication]) -> str:
        """All that anybody might see."""
        assert played.result is not None
        lines = [line_of(event, LogStyle())[1] for event in played.events]
        return "\n".join([*lines, repr(played.result), repr(played.error)])

    def test_servers_that_repeat(self) -> None:
        """Servers that repeat what they did not understand, and what they have decoded."""
        for echo in ("AHVzZXIAc2VjcmV0", "secret", "user=user password=secret"):
            script = f"""
                C: AUTH PLAIN AHVzZXIAc2VjcmV0
                S: 500-5.5.1 command unrecognized: | 500 5.5.1 "{echo}"
                """
            shown = self.shown(self.log_in("PLAIN", script))
            self.assertNotIn("secret", shown)
            self.assertNotIn("AHVzZXIAc2VjcmV0", shown)
            self.assertIn("command unrecognized:", shown)
            self.assertIn("****", shown)

    def test_answers_that_are_repeated(self) -> None:
        """The same for later answers, and for explanations."""
        script = """
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: dXNlcg==
            S: 334 UGFzc3dvcmQ6
            C: c2VjcmV0
            S: 535 5.7.8 no: c2VjcmV0
            """
        self.assertNotIn("c2VjcmV0", self.shown(self.log_in("LOGIN", script)))
        error = base64.b64encode(b"bad token secret").decode()
        script = f"""
            C: AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHNlY3JldAEB
            S: 334 {error}
            C:
            S: 535 5.7.8 no
            """
        played = self.log_in("XOAUTH2", script.replace("C:\n", "C: \n"))
        self.assertIn("bad token ****", self.shown(played))

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"]),
        st.lists(
            st.one_of(
                st.binary(max_size=30).map(lambda data: "334 " + base64.b64encode(data).decode()),
                st.text("34=+/A secretAHVz-", max_size=20).map("334 ".__add__),
                st.sampled_from(["535 5.7.8 secret pass phrase", "235 ok", "150 x", "(lost)", "334", "421 bye"]),
            ),
            max_size=6,
        ),
    )
    def test_any_server(self, name: str, replies: list[str]) -> None:
        """Whatever a server says, there is an end, and the password is nowhere but on the wire."""
        of = login("user", "secret pass phrase")
        script = "\n".join(f"S: {reply}" for reply in [*replies, "535 5.7.8 secret pass phrase"])
        dialog = authenticate(PEER, mechanism(name, of), TERMS, confidential(of.password))
        played = play(dialog, ScriptedServer(script))
        if played.error is None:
            self.assertNotIn("secret pass phrase", self.shown(played))
