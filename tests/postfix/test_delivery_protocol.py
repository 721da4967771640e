"""The lists of a delivery request and of its reply."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.requests import ACTIVE, COMPLETE, INCOMING, TRY_AGAIN, wire_recipient, wire_request, wire_times
from twisted_mta.ipc.attributes import Decoder, IpcError, Long, Value, read_texts
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import (
    DeliveryRequest,
    LogClient,
    MessageStats,
    Notify,
    Recipient,
    RequestFlags,
    Return,
    SmtpUtf8,
)
from twisted_mta.model.result import FinalStatus
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.postfix.delivery_protocol import (
    LONGEST_REQUEST,
    MOST_RECIPIENTS,
    RequestReader,
    encode_reply,
    encode_request,
    read_reply,
    request_names,
)

NAMES = request_names(PostfixVersion(3, 7))
NOW = 1_700_000_002.5
texts = st.binary(max_size=30).map(lambda octets: to_text(octets.replace(b"\0", b"")))


def read(*pieces: bytes) -> DeliveryRequest | None:
    """Feed a reader; the last piece decides."""
    reader = RequestReader(NAMES)
    request = None
    for piece in pieces:
        request = reader.feed(piece, NOW)
    return request


class RequestTests(SynchronousTestCase):
    def test_every_field(self) -> None:
        """Each attribute ends where the model wants it."""
        request = read(
            wire_request(
                [
                    wire_recipient("b@example.net", 597),
                    wire_recipient("c@example.net", -1, dsn_orig_rcpt="", notify_flags=0),
                ],
                flags=6147,
                smtputf8=5,
                envelope_id="ENV",
                ret_flags=2,
                sasl_method="PLAIN",
                sasl_username="user",
                sasl_sender="sender",
                rewrite_context="remote",
                log_ident="IDENT",
            )
        )
        self.assertEqual(
            request,
            DeliveryRequest(
                queue_id="1E2404A2B3",
                nexthop="example.net",
                sender="a@example.com",
                recipients=(
                    Recipient(
                        "b@example.net", "b@example.net", 597, "rfc822;b@example.net", Notify.SUCCESS | Notify.FAILURE
                    ),
                    Recipient("c@example.net", "c@example.net", -1, "", Notify.NONE),
                ),
                stats=MessageStats(INCOMING, ACTIVE, 1_700_000_002_500_000),
                size=312,
                flags=RequestFlags.SUCCESS | RequestFlags.BOUNCE | RequestFlags.CONN_LOAD | RequestFlags.CONN_STORE,
                queue_name="active",
                content_offset=674,
                encoding="7bit",
                smtputf8=SmtpUtf8.REQUESTED | SmtpUtf8.SENDER,
                envelope_id="ENV",
                ret=Return.HEADERS,
                client=LogClient("localhost", "127.0.0.1", "4711", "ESMTP", "client.example", "IDENT"),
                sasl_method="PLAIN",
                sasl_username="user",
                sasl_sender="sender",
                rewrite_context="remote",
            ),
        )

    def test_recorded_time(self) -> None:
        """The structure of time stamps is that of the machine: this is how one begins on the wire."""
        self.assertTrue(wire_times(1_700_000_000_123_456).startswith(b"APFTZQAAAABA4gEAAAAAA"))
        self.assertEqual(len(wire_times(0)), 120)

    def test_time_stamps_of_an_earlier_agent_are_kept(self) -> None:
        """A request that another agent passed on has its hand-off already."""
        request = read(wire_request(time=wire_times(1, 2, 3_000_003, 4, 5, reuse_count=6)))
        assert request is not None
        self.assertEqual(request.stats, MessageStats(1, 2, 3_000_003, 4, 5, 6))

    def test_name_of_send_options(self) -> None:
        """Since Postfix 3.10 one attribute has another name, and bits that mean nothing here."""
        reader = RequestReader(request_names(PostfixVersion(3, 10)))
        request = reader.feed(wire_request(sendopts=63), NOW)
        assert request is not None
        self.assertEqual(request.smtputf8, sum(SmtpUtf8))
        self.assertRaises(IpcError, read, wire_request(sendopts=0))

    def test_odd_bytes_survive(self) -> None:
        """Addresses that are not UTF-8 can leave as they came."""
        request = read(
            wire_request([wire_recipient(to_text(b"\xff@example.net"))], sender=to_text(b"\xe9@example.com"))
        )
        assert request is not None
        self.assertEqual(to_wire(request.sender), b"\xe9@example.com")
        self.assertEqual(to_wire(request.recipients[0].address), b"\xff@example.net")

    @settings(deadline=None, max_examples=25)
    @given(
        st.lists(texts, min_size=1, max_size=5),
        st.dictionaries(st.sampled_from(["sender", "nexthop", "encoding"]), texts),
    )
    def test_however_cut(self, addresses: list[str], changes: dict[str, Value]) -> None:
        """A request is the same whole and octet by octet, and complete with its last octet."""
        wire = wire_request([wire_recipient(address) for address in addresses], **changes)
        whole = read(wire)
        assert whole is not None
        self.assertEqual([r.address for r in whole.recipients], addresses)
        self.assertEqual(whole, read(*[wire[i : i + 1] for i in range(len(wire))]))
        self.assertIsNone(read(wire[:-1]))

    def test_thousands_of_recipients(self) -> None:
        """A request may have as many recipients as the queue manager holds."""
        request = read(wire_request([wire_recipient(f"user{n}@example.net", n + 1) for n in range(20_000)]))
        assert request is not None
        self.assertEqual(len(request.recipients), 20_000)
        self.assertEqual(request.recipients[-1].offset, 20_000)

    def test_what_follows_is_ignored(self) -> None:
        """The queue manager sends one request; anything behind it is not looked at."""
        self.assertIsNotNone(read(wire_request() + b"junk"))

    def test_malformed(self) -> None:
        """Each impossible value is refused, and the error names the culprit and the message."""
        changes: list[tuple[dict[str, Value], str]] = [
            ({"queue_name": "../incoming"}, '"../incoming" cannot be the name of a queue'),
            ({"queue_name": "a" * 101}, "cannot be the name of a queue"),
            ({"queue_id": "../../x"}, '"../../x" cannot be a queue id'),
            ({"queue_id": ""}, '"" cannot be a queue id'),
            ({"queue_id": "A" * 256}, "cannot be a queue id"),
            ({"queue_id": "A\n"}, "cannot be a queue id"),
            ({"queue_id": "\u0661"}, "cannot be a queue id"),
            ({"recipient_count": 0}, "1E2404A2B3: 0 recipients"),
            ({"recipient_count": -1}, "1E2404A2B3: -1 recipients"),
            ({"recipient_count": MOST_RECIPIENTS + 1}, "100001 recipients"),
            ({"time": b"AAAA"}, "1E2404A2B3: attribute time: 3 octets instead of 88"),
            ({"time": b"?"}, "1E2404A2B3: attribute time: not base64"),
            ({"offset": Long(-5)}, "1E2404A2B3: attribute offset: -5 is negative"),
            ({"size": "many"}, '1E2404A2B3: attribute size: "many" is not a number'),
            ({"flags": ""}, '1E2404A2B3: attribute flags: "" is not a number'),
            ({"ret_flags": 3}, "1E2404A2B3: attribute ret_flags: 3 has no meaning"),
            ({"surplus": "x"}, 'unexpected attribute "surplus"'),
        ]
        for change, text in changes:
            self.assertIn(text, str(self.assertRaises(IpcError, read, wire_request(**change))))
        for recipient, text in [
            (wire_recipient(offset=0), "1E2404A2B3: impossible offset of a recipient: 0"),
            (wire_recipient(offset=-2), "1E2404A2B3: impossible offset of a recipient: -2"),
            (wire_recipient(surplus="x"), '1E2404A2B3: unexpected attribute "surplus"'),
            (b"recipient\0x\0\0", '"recipient" stands where "original_recipient" belongs'),
            (b"\0", 'attribute "original_recipient" is missing'),
        ]:
            self.assertIn(text, str(self.assertRaises(IpcError, read, wire_request([recipient]))))

    def test_endless_request(self) -> None:
        """A request cannot fill the memory: neither one value, nor all recipients together."""
        self.assertIn("longer than", str(self.assertRaises(IpcError, read, b"flags\0" + b"1" * (2 << 20))))
        piece = wire_recipient("a" * 60_000) * 10
        pieces = [wire_request(recipient_count=90_000), *[piece] * (LONGEST_REQUEST // len(piece) + 1)]
        self.assertIn("more than", str(self.assertRaises(IpcError, read, *pieces)))

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_junk_is_an_ipc_error_at_worst(self, data: st.DataObject) -> None:
        """A damaged request gives a request, nothing yet, or an IpcError."""
        wire = bytearray(wire_request())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(wire)))
            wire[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
        try:
            read(bytes(wire))
        except IpcError as error:
            self.assertNotEqual(str(error), "")


class ReplyTests(SynchronousTestCase):
    def test_healthy_destination(self) -> None:
        """Without a hop status all but the last attribute are empty."""
        self.assertEqual(encode_reply(FinalStatus(True)), COMPLETE)
        self.assertEqual(len(COMPLETE), 77)
        self.assertEqual(encode_reply(FinalStatus(False)), TRY_AGAIN)

    def fields(self, hop: DsnStatus, *, complete: bool = False) -> list[str]:
        """The values of a reply with a hop status."""
        (reply,) = Decoder().feed(encode_reply(FinalStatus(complete, hop)))
        names = "status diag_type diag_text mta_type mta_mname action reason status"
        self.assertEqual(b" ".join(reply.names).decode(), names)
        return read_texts(reply.values)

    def test_sick_destination(self) -> None:
        """The hop status travels without its action."""
        hop = DsnStatus("4.4.1", "host mx said: 421 no", "delayed", "smtp", "421 no", "dns", "mx.example.net")
        self.assertEqual(
            self.fields(hop),
            ["4.4.1", "smtp", "421 no", "dns", "mx.example.net", "", "host mx said: 421 no", "4294967295"],
        )
        self.assertEqual(self.fields(hop, complete=True)[-1], "0")

    def test_half_a_pair_is_none(self) -> None:
        """Type and text go together or not at all."""
        fields = self.fields(DsnStatus("4.4.1", "why", "", "smtp", "", "", "mx"))
        self.assertEqual(fields, ["4.4.1", "", "", "", "", "", "why", "4294967295"])

    def test_foreign_text_cannot_break_the_list(self) -> None:
        """NUL becomes a question mark, a text without end is cut."""
        fields = self.fields(DsnStatus("4.4.1", "a\0b" + "x" * 100_000, "", "smtp", "421 \0", "dns", "m\0x"))
        self.assertEqual((fields[2], fields[4], fields[6][:4], len(fields[6])), ("421 ?", "m?x", "a?bx", 8192))


class PassedOnTests(SynchronousTestCase):
    """Requests that we send ourselves."""

    def test_recorded(self) -> None:
        """Octet for octet what qmgr(8) sends for one recipient, with the time of the hand-off."""
        request = read(wire_request([wire_recipient("b@example.net", 597), wire_recipient("c@example.net", 700)]))
        assert request is not None
        for recipient in request.recipients:
            expected = wire_request(
                [wire_recipient(recipient.address, recipient.offset)],
                time=wire_times(INCOMING, ACTIVE, int(NOW * 1_000_000)),
            )
            self.assertEqual(encode_request(request, recipient, PostfixVersion(3, 7)), expected)

    @settings(deadline=None, max_examples=50)
    @given(st.lists(texts, min_size=7, max_size=7), st.integers(-1, 1 << 40), st.integers(0, 15))
    def test_round_trip(self, words: list[str], offset: int, notify: int) -> None:
        """Whatever is in a request, the other agent reads it as it was."""
        original, address, orcpt, nexthop, sender, envelope_id, client = words
        request = DeliveryRequest(
            queue_id="4Abc12",
            nexthop=nexthop,
            sender=sender,
            recipients=(Recipient(address, original, offset or -1, orcpt, Notify(notify)),),
            stats=MessageStats(1, 2, 3_000_003),
            size=1 << 40,
            flags=RequestFlags.SUCCESS | RequestFlags.USR_VRFY,
            smtputf8=SmtpUtf8.REQUESTED,
            envelope_id=envelope_id,
            ret=Return.FULL,
            client=LogClient(name=client),
        )
        for version in (PostfixVersion(3, 7), PostfixVersion(3, 10)):
            reader = RequestReader(request_names(version))
            self.assertEqual(reader.feed(encode_request(request, request.recipients[0], version), NOW), request)

    def test_replies(self) -> None:
        """What the other agent answers."""
        for reply, complete in ((COMPLETE, True), (TRY_AGAIN, False)):
            (found,) = Decoder().feed(reply)
            self.assertEqual(read_reply(found), complete)
        (short,) = Decoder().feed(b"status\0000\0\0")
        self.assertRaises(IpcError, read_reply, short)
