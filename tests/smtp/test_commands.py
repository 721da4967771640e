"""The lines that go out."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.messages import make_request
from twisted_mta.model.request import LogClient, Notify, Recipient, Return, SmtpUtf8
from twisted_mta.model.text import to_text
from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.commands import hello, is_speakable, mail_from, needs_downgrade, rcpt_to, xforward
from twisted_mta.smtp.settings import DialogSettings

ALL = Capabilities(~Feature.NONE)
NONE = Capabilities(Feature.ESMTP)
SETTINGS = DialogSettings()


def mail(capabilities: Capabilities = ALL, dialog: DialogSettings = SETTINGS, **changes: Any) -> str:
    """MAIL FROM for a request with these changes."""
    return to_text(mail_from(make_request("r@dest.example", **changes), capabilities, dialog))


def rcpt(
    recipient: Recipient, capabilities: Capabilities = ALL, dialog: DialogSettings = SETTINGS, **changes: Any
) -> str:
    """RCPT TO for a recipient of a request with these changes."""
    return to_text(rcpt_to(recipient, make_request(**changes), capabilities, dialog))


class MailTests(SynchronousTestCase):
    """MAIL FROM and the order of its parameters."""

    def test_all_parameters(self) -> None:
        """SIZE, BODY, ENVID, RET, SMTPUTF8."""
        line = mail(
            sender="a@b.example", size=49, encoding="8bit", envelope_id="x y", ret=Return.HEADERS, smtputf8=SmtpUtf8.REQUESTED
        )  # fmt: skip
        self.assertEqual(line, "MAIL FROM:<a@b.example> SIZE=49 BODY=8BITMIME ENVID=x+20y RET=HDRS SMTPUTF8")

    def test_nothing_offered(self) -> None:
        """A server that offers nothing gets nothing."""
        line = mail(
            NONE, sender="a@b.example", size=49, encoding="7bit", envelope_id="x", ret=Return.FULL,
            smtputf8=SmtpUtf8.REQUESTED,
        )  # fmt: skip
        self.assertEqual(line, "MAIL FROM:<a@b.example>")

    def test_auth(self) -> None:
        """AUTH=<> comes last, on request, where there was a login (RFC 4954 section 5; postconf(5) smtp_send_dummy_mail_auth)."""
        saying = DialogSettings(dummy_mail_auth=True)
        logged_in = Capabilities(Feature.AUTH | Feature.SIZE)
        self.assertEqual(mail(logged_in, saying, sender="", size=49), "MAIL FROM:<> SIZE=49 AUTH=<>")
        self.assertEqual(mail(logged_in, sender="", size=49), "MAIL FROM:<> SIZE=49")
        self.assertEqual(mail(Capabilities(Feature.SIZE), saying, sender="", size=49), "MAIL FROM:<> SIZE=49")

    def test_null_sender(self) -> None:
        """The sender of a report is empty."""
        self.assertEqual(mail(NONE, sender=""), "MAIL FROM:<>")

    def test_body(self) -> None:
        """BODY says what the message is marked as; without a mark, or with an unknown one, nothing is said."""
        for encoding, body in {"7bit": " BODY=7BIT", "8bit": " BODY=8BITMIME", "": "", "binary": ""}.items():
            line = mail(Capabilities(Feature.EIGHTBITMIME), sender="", encoding=encoding)
            self.assertEqual(line, "MAIL FROM:<>" + body)

    def test_size_of_converted_content(self) -> None:
        """Content that will be converted has no known size: only a message marked 7bit will not be."""
        server = Capabilities(Feature.SIZE)
        for encoding, size in {"7bit": " SIZE=10", "8bit": "", "": ""}.items():
            self.assertEqual(mail(server, sender="", size=10, encoding=encoding), "MAIL FROM:<>" + size)
        unconverted = DialogSettings(convert_mime=False)
        self.assertEqual(mail(server, unconverted, sender="", size=10, encoding="8bit"), "MAIL FROM:<> SIZE=10")

    def test_downgrade(self) -> None:
        """Content is converted for a server without 8BITMIME, unless it is 7bit or the administrator said no."""
        self.assertTrue(needs_downgrade(make_request(encoding="8bit"), NONE, SETTINGS))
        self.assertTrue(needs_downgrade(make_request(encoding=""), NONE, SETTINGS))
        self.assertFalse(needs_downgrade(make_request(encoding="7bit"), NONE, SETTINGS))
        self.assertFalse(needs_downgrade(make_request(encoding="8bit"), ALL, SETTINGS))
        self.assertFalse(needs_downgrade(make_request(encoding="8bit"), NONE, DialogSettings(convert_mime=False)))

    def test_smtputf8(self) -> None:
        """SMTPUTF8 is said if the sender asked for it, even for plain addresses (RFC 6531 section 3.4)."""
        server = Capabilities(Feature.SMTPUTF8)
        self.assertEqual(mail(server, sender="", smtputf8=SmtpUtf8.REQUESTED), "MAIL FROM:<> SMTPUTF8")
        self.assertEqual(
            mail(server, sender="j\u00f6@b.example", smtputf8=SmtpUtf8.SENDER), "MAIL FROM:<j\u00f6@b.example>"
        )


class RcptTests(SynchronousTestCase):
    """RCPT TO with what a sender wants to be told (RFC 3461 section 4)."""

    def test_without_dsn(self) -> None:
        """A server without DSN gets the address alone."""
        recipient = Recipient("b@d.example", "a@o.example", dsn_orcpt="rfc822;x@y", notify=Notify.NEVER)
        self.assertEqual(rcpt(recipient, NONE), "RCPT TO:<b@d.example>")

    def test_orcpt(self) -> None:
        """What the sender gave goes before the address as it was before rewriting; without either there is none."""
        self.assertEqual(
            rcpt(Recipient("b@d.example", "a@o.example", dsn_orcpt="rfc822;x+y@z")),
            "RCPT TO:<b@d.example> ORCPT=rfc822;x+2By@z",
        )
        self.assertEqual(
            rcpt(Recipient("b@d.example", "a b@o.example")), 'RCPT TO:<b@d.example> ORCPT=rfc822;"a+20b"@o.example'
        )
        self.assertEqual(rcpt(Recipient("b@d.example")), "RCPT TO:<b@d.example>")

    def test_orcpt_in_utf8(self) -> None:
        """An address in UTF-8 has its own type and encoding, if the message has to do with SMTPUTF8 (RFC 6533)."""
        recipient = Recipient("b@d.example", "jos\u00e9@o.example")
        self.assertEqual(
            rcpt(recipient, smtputf8=SmtpUtf8.RECIPIENT), r"RCPT TO:<b@d.example> ORCPT=utf-8;jos\x{E9}@o.example"
        )
        self.assertEqual(rcpt(recipient), "RCPT TO:<b@d.example> ORCPT=rfc822;jos+C3+A9@o.example")
        given = Recipient("b@d.example", dsn_orcpt="UTF-8;jos\u00e9@o.example")
        self.assertEqual(rcpt(given), r"RCPT TO:<b@d.example> ORCPT=UTF-8;jos\x{E9}@o.example")

    def test_orcpt_that_is_not_utf8(self) -> None:
        """A type utf-8 whose octets are not has no form, and is left out."""
        self.assertEqual(rcpt(Recipient("b@d.example", dsn_orcpt=to_text(b"utf-8;a\xff@o"))), "RCPT TO:<b@d.example>")

    def test_notify(self) -> None:
        """NOTIFY lists NEVER, SUCCESS, FAILURE, DELAY in this order."""
        for notify, words in {
            Notify.NONE: "",
            Notify.NEVER: " NOTIFY=NEVER",
            Notify.DELAY | Notify.SUCCESS: " NOTIFY=SUCCESS,DELAY",
            Notify.SUCCESS | Notify.FAILURE | Notify.DELAY: " NOTIFY=SUCCESS,FAILURE,DELAY",
        }.items():
            self.assertEqual(rcpt(Recipient("b@d.example", notify=notify)), "RCPT TO:<b@d.example>" + words)

    def test_quoting(self) -> None:
        """A local part gets quotes where RFC 5321 wants them, and octets beyond ASCII do not call for any."""
        for address, quoted in {
            "a b@x.y": '"a b"@x.y',
            "a..b@z": '"a..b"@z',
            "@z": '""@z',
            '"x"@y@z': r'"\"x\"@y"@z',
            r"c\d@z": r'"c\\d"@z',
            "j\u00f6@z": "j\u00f6@z",
            "user": "user",
            "a@[IPv6:::1]": "a@[IPv6:::1]",
            "x" * 300 + "@z": "x" * 300 + "@z",
        }.items():
            self.assertEqual(rcpt(Recipient(address), NONE), f"RCPT TO:<{quoted}>")

    def test_no_quoting(self) -> None:
        """With smtp_quote_rfc821_envelope = no the address goes out as it is."""
        self.assertEqual(
            rcpt(Recipient('a b"c\\d@x.y'), NONE, DialogSettings(quote_envelope=False)), 'RCPT TO:<a b"c\\d@x.y>'
        )

    def test_octets_leave_as_they_came(self) -> None:
        """An address that is not UTF-8 keeps its octets."""
        line = rcpt_to(Recipient(to_text(b"a\xff\xc3@x.y")), make_request(), NONE, SETTINGS)
        self.assertEqual(line, b"RCPT TO:<a\xff\xc3@x.y>")


class SpeakableTests(SynchronousTestCase):
    """Nothing in a message's envelope can end a command and begin another."""

    def test_refused(self) -> None:
        """CR, LF and NUL cannot be said, quoted or not."""
        for octet in "\r\n\0":
            for address in (f"a{octet}b@x.y", f"a@x.y{octet}DATA", f"a@x{octet}", octet):
                self.assertFalse(is_speakable(address))
                self.assertRaises(ValueError, rcpt, Recipient(address))
                self.assertRaises(ValueError, rcpt, Recipient(address), dialog=DialogSettings(quote_envelope=False))
                self.assertRaises(ValueError, mail, sender=address)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.sampled_from(list(SmtpUtf8)))
    def test_one_line(self, address: str, original: str, given: str, smtputf8: SmtpUtf8) -> None:
        """Whatever an envelope holds, a command is one line, or none."""
        recipient = Recipient(address, original, dsn_orcpt=given, notify=Notify.FAILURE)
        request = make_request(sender=address, envelope_id=given, smtputf8=smtputf8, client=LogClient(given, original))
        lines = [*xforward(request, ALL)]
        if is_speakable(address):
            lines += [mail_from(request, ALL, SETTINGS), rcpt_to(recipient, request, ALL, SETTINGS)]
        for line in lines:
            self.assertNotRegex(line, rb"[\r\n\0]")


class XforwardTests(SynchronousTestCase):
    """XFORWARD in its two commands (XFORWARD_README)."""

    CLIENT = LogClient("spike.example", "192.0.2.7", "34567", "ESMTP", "spike.example", "4Abc12")

    def said(self, client: LogClient, features: Feature = ~Feature.NONE, **changes: Any) -> list[str]:
        """The commands."""
        return [
            command.decode() for command in xforward(make_request(client=client, **changes), Capabilities(features))
        ]

    def test_all(self) -> None:
        """Name, address and port go first, the rest second."""
        self.assertEqual(
            self.said(self.CLIENT, rewrite_context="remote"),
            [
                "XFORWARD NAME=spike.example ADDR=192.0.2.7 PORT=34567",
                "XFORWARD PROTO=ESMTP HELO=spike.example IDENT=4Abc12 SOURCE=REMOTE",
            ],
        )

    def test_unknown(self) -> None:
        """What is unknown is left out, in any spelling, but HELO is what the client said."""
        client = LogClient("Unknown", "UNKNOWN", "unknown", "unknown", "unknown", "")
        self.assertEqual(self.said(client), ["", "XFORWARD HELO=unknown SOURCE=LOCAL"])

    def test_not_offered(self) -> None:
        """Only offered attributes are said, and no command without any."""
        self.assertEqual(self.said(self.CLIENT, Feature.XFORWARD_ADDR), ["XFORWARD ADDR=192.0.2.7", ""])
        self.assertEqual(self.said(self.CLIENT, Feature.NONE), ["", ""])


class HelloTests(SynchronousTestCase):
    """EHLO and its kin."""

    def test_verbatim(self) -> None:
        """The name goes out as the administrator wrote it."""
        self.assertEqual(hello(b"EHLO", "[192.0.2.1]"), b"EHLO [192.0.2.1]")
