"""DIGEST-MD5."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sasl.logins import MechanismTestCase, login, mechanism
from twisted_mta.interfaces import SaslError
from twisted_mta.model.login import Login
from twisted_mta.sasl.conversation import Conversation
from twisted_mta.sasl.digest_md5 import LONGEST_CHALLENGE, digest_md5

CHALLENGE = b'realm="r",nonce="n",qop="auth",charset=utf-8,algorithm=md5-sess'
RFC_CHALLENGE = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
CHRIS = login("chris", "secret", host="elwood.innosoft.com", service="imap")


def conversation(of: Login, cnonce: bytes) -> Conversation:
    """A login with a nonce that is known."""
    return Conversation("DIGEST-MD5", digest_md5(of, lambda: cnonce), proven_after=2)


class DigestTestCase(MechanismTestCase):
    """Answers challenges."""

    def answer(self, challenge: bytes, of: Login, cnonce: bytes = b"c") -> bytes:
        """The answer to a first challenge."""
        made = conversation(of, cnonce)
        self.assertIsNone(made.start())
        return made.step(challenge)

    def response(self, challenge: bytes, of: Login, cnonce: bytes) -> bytes:
        """The digest in that answer."""
        match = re.search(rb"response=([0-9a-f]{32})", self.answer(challenge, of, cnonce))
        assert match is not None
        return match[1]


class ExampleTests(DigestTestCase):
    """Known answers."""

    def test_rfc(self) -> None:
        """The example of RFC 2831 section 4, with both proofs."""
        made = conversation(CHRIS, b"OA6MHXh6VqTrRk")
        made.start()
        self.assertEqual(
            made.step(RFC_CHALLENGE),
            b'username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",cnonce="OA6MHXh6VqTrRk",nc=00000001,'
            b'qop=auth,digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7',
        )
        self.assertEqual(made.step(b"rspauth=ea40f60335c427b5527b84dbabcdfffd"), b"")
        made.succeeded()

    def test_characters(self) -> None:
        """Each of name, realm and password is hashed as Latin-1 where it can be; these are answers of the Cyrus library."""
        of = login("us\u00e9r", "p\u00e4ss")
        bare = b'nonce="n",qop="auth",algorithm=md5-sess'
        stale = b'nonce="n\\"x",algorithm=md5-sess,stale=true'
        for challenge, cnonce, wanted in [
            (CHALLENGE, b"pxC2e34Hr2aToY25e1Sj6OHM8j5S/BNOd/VGeRkGilM=", b"08b11b728e044a4ea9befebe6ac3ced1"),
            (bare, b"8KV1PfnVBa1R2Yyf8WeTj1dX9yEdvvrcTvY/GDI0i2w=", b"d25b005de99742254db22a4a1ecafa3b"),
            (stale, b"xtdXB/mVH1p0Js+kxm5IIf+QMvjIxRxT/GynnlaB2Es=", b"55d5794fb19f76e4594d684403ad7849"),
        ]:
            self.assertEqual(self.response(challenge, of, cnonce), wanted, challenge)

    def test_lmtp(self) -> None:
        """What is quoted is hashed without the quoting; LMTP has a service name of its own."""
        answer = self.answer(
            b'nonce="n",realm="r",algorithm=md5-sess,charset=utf-8',
            login('us"e\\r', "pw", service="lmtp"),
            b"9cqetRDJHttSFhgFKW8AOuZLAwsEm8YpRPooQArWFdw=",
        )
        self.assertTrue(answer.startswith(b'username="us\\"e\\\\r",realm="r",'), answer)
        self.assertIn(b'digest-uri="lmtp/mx.example",response=4d27bb8b003dd8724dd8d438427e7b00', answer)


class AnswerTests(DigestTestCase):
    """What goes into an answer."""

    def test_realms(self) -> None:
        """The realm that the server offers, if it offers one; else the host."""
        for challenge, realm in {
            b'realm="r"': b"r",
            b'realm="r\\"q"': b'r\\"q',
            b'realm=""': b"mx.example",
            b'realm="r1",realm="r2"': b"mx.example",
            b"": b"mx.example",
        }.items():
            answer = self.answer(challenge + b',nonce="n",algorithm=md5-sess', login())
            self.assertIn(b',realm="%b",' % realm, answer)

    def test_charset(self) -> None:
        """A name that is not ASCII says in which characters it is, if the server knows UTF-8."""
        self.assertNotIn(b"charset", self.answer(CHALLENGE, login("user")))
        self.assertIn(b",charset=utf-8", self.answer(CHALLENGE, login("us\u00e9r")))
        self.assertNotIn(b"charset", self.answer(b"nonce=n,algorithm=md5-sess", login("us\u00e9r")))

    def test_authorization_identity(self) -> None:
        """It is named if it is somebody else's, and then is part of the proof."""
        plain = self.answer(CHALLENGE, login())
        self.assertEqual(self.answer(CHALLENGE, login(authorization_id="user")), plain)
        other = self.answer(CHALLENGE, login(authorization_id="boss"))
        self.assertTrue(other.endswith(b',authzid="boss"'), other)
        self.assertNotEqual(other.partition(b"response=")[2][:32], plain.partition(b"response=")[2][:32])

    def test_lenient(self) -> None:
        """Blanks, empty elements, unknown directives and other qualities of protection do no harm."""
        for challenge in (
            b'  nonce =  "n" , algorithm = md5-sess ,, qop = auth',
            b'nonce="n",ALGORITHM=MD5-sess,qop="auth-int, auth ,auth-conf",cipher="rc4,des",maxbuf=5,x-new="a,b"',
            b'nonce="n",algorithm="md5-sess",',
        ):
            self.assertIn(b'nonce="n"', self.answer(challenge, login()))

    def test_nonces(self) -> None:
        """Our nonce is another one each time."""
        made = [mechanism("DIGEST-MD5", login()) for _ in range(2)]
        self.assertEqual(len({self.said(each, CHALLENGE)[1] for each in made}), 2)


class HostileTests(DigestTestCase):
    """Servers that do not know the password, or the protocol."""

    def test_challenges(self) -> None:
        """What cannot be answered says why."""
        for challenge, problem, text in [
            (b"", "generic failure", "no server challenge"),
            (b"garbage", "authentication failure", "Parse error"),
            (b'nonce="n', "authentication failure", "Parse error"),
            (b"nonce=n\x00,algorithm=md5-sess x", "authentication failure", "Parse error"),
            (b"nonce=n", "generic failure", "Must see 'algorithm' once. Didn't see at all"),
            (b"nonce=n,algorithm=md5", "generic failure", "'algorithm' isn't 'md5-sess'"),
            (b"algorithm=md5-sess", "generic failure", "Don't have nonce."),
            (b'nonce="",algorithm=md5-sess', "generic failure", "Don't have nonce."),
            (b"nonce=n,nonce=m,algorithm=md5-sess", "authentication failure", "More than one 'nonce' in a challenge"),
            (b"nonce=n,algorithm=md5-sess,charset=latin1", "authentication failure", "Charset must be UTF-8"),
            (b"nonce=n,algorithm=md5-sess,qop=auth-conf", "generic failure", 'Server doesn\'t support "no layer"'),
            (b"x" * (LONGEST_CHALLENGE + 1), "bad protocol / cancel", "DIGEST-MD5 input longer than 2048 bytes"),
            (b"," * 1_000_000, "bad protocol / cancel", "DIGEST-MD5 input longer than 2048 bytes"),
        ]:
            error = self.refusal(mechanism("DIGEST-MD5", login()), challenge)
            self.assertEqual((error.problem, error.warning), (problem, f"SASL authentication failure: {text}"))

    def test_wrong_proof(self) -> None:
        """A server whose proof is wrong, or who has none, is not believed."""
        for answer, problem in [
            (b"rspauth=" + b"0" * 32, "server failed mutual authentication step"),
            (b"rspauth=", "server failed mutual authentication step"),
            (b"rspauth=d388dad90d4bbd760a152321f2143af7", "server failed mutual authentication step"),
            (b"foo=bar", "generic failure"),
            (b"", "generic failure"),
            (CHALLENGE, "generic failure"),
        ]:
            made = conversation(CHRIS, b"OA6MHXh6VqTrRk")
            error = self.refusal(made, RFC_CHALLENGE, answer)
            self.assertEqual(error.problem, problem, answer)

    def test_proof_that_is_left_out(self) -> None:
        """Nor is one who says yes without a proof."""
        made = conversation(CHRIS, b"OA6MHXh6VqTrRk")
        self.said(made, RFC_CHALLENGE)
        self.assertEqual(
            self.assertRaises(SaslError, made.succeeded).problem, "server failed mutual authentication step"
        )

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60) | st.text('nonce="r\\,= md5-salgorithqpub\n', max_size=60).map(str.encode))
    def test_junk(self, junk: bytes) -> None:
        """Whatever comes, there is an answer or a SaslError, and the password is in neither."""
        made = mechanism("DIGEST-MD5", login(password="a secret"))
        made.start()
        try:
            said = made.step(b'nonce="n",algorithm=md5-sess,' + junk)
        except SaslError as error:
            said = str((error, error.warning)).encode()
        self.assertNotIn(b"a secret", said)
