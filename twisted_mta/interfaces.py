"""Every contract of the package: the first file to read.

A delivery request flows one way: an IRequestSource gives it, with its IMessageContent and an IStatusReporter, to the
IDeliveryAgent, which asks an IDNSClient where to go, and answers with a FinalStatus.
"""

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_mta.model.answers import Answer, RecordType, Search
from twisted_mta.model.login import Login
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus, RecipientResult


class ContentError(Exception):
    """The content of a message cannot be read now; trying later may help."""


class CorruptContentError(ContentError):
    """The content of a message is damaged for good."""


class TableError(Exception):
    """A lookup table cannot be asked, or its answer makes no sense.

    Never the same as "not found": what depends on the answer must not go on without it (postconf(5), table lookup errors).

    Attributes:
        table: ``type:name`` of the table.
        key: what was looked up; empty if no lookup is concerned.
        problem: what is wrong, in words for the log; names the file and line where there is one.
    """

    def __init__(self, table: str, problem: str, key: str = "") -> None:
        """Keep what is known."""
        super().__init__(f"{table}: {problem}")
        self.table = table
        self.key = key
        self.problem = problem


class ILookupTable(Interface):
    """A lookup table ``type:name``, open and ready."""

    name = Attribute("The table as it was configured: ``type:name``.")

    by_pattern = Attribute(
        "Whether keys are matched against patterns: then only whole keys are looked up, never parts."
    )

    def lookup(key: str) -> str | Deferred[str | None] | None:
        """Look up a key, folded by the table as its type does.

        Returns:
            The value, or None if there is none: at once from a table that is read locally, else a Deferred of it.

        Raises:
            TableError: the table cannot be asked; the Deferred fails with the same.
        """

    def changed() -> bool:
        """Whether what the table was made from has changed since: then it must be opened anew. Cheap, never raises."""

    def close() -> None:
        """Give back what the table holds; no lookup may follow."""


class IWritableTable(ILookupTable):
    """A lookup table that can be written to."""

    def update(key: str, value: str) -> Deferred[None]:
        """Give a key a value, in place of the one that it may have.

        Returns:
            Fires when that is done; fails with TableError.
        """

    def delete(key: str) -> Deferred[None]:
        """Take a key away; one that is not there is no error.

        Returns:
            Fires when that is done; fails with TableError.
        """


class IMessageContent(Interface):
    """The content of one message, to be read as often as there are hosts to try."""

    def chunks() -> Iterator[bytes]:
        """Read the content from its start.

        Each chunk holds whole records: lines that end with LF, the last of which may lack it; then that line goes on in the
        next chunk. There is no other CR or LF in it. A chunk is seldom larger than 64 KiB.

        Raises:
            CorruptContentError: from the iterator: what follows is damaged.
            ContentError: from the iterator: reading failed.
        """


class IStatusReporter(Interface):
    """Records the fates of one request's recipients."""

    def report(result: RecipientResult) -> Deferred[bool]:
        """Record what became of a recipient, log it, and mark it done in the queue.

        Returns:
            Fires once the record is safe: True if the recipient is final, False if it must be tried again. Never fails:
            where recording fails, the recipient is deferred.
        """


class IDeliveryAgent(Interface):
    """Delivers requests."""

    def deliver(request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter) -> Deferred[FinalStatus]:
        """Deliver a message to all recipients of a request, or record why not.

        Returns:
            Fires with the final status; never fails: what goes wrong is a status. Cancelling it ends the delivery:
            connections are dropped, recipients whose fate is open are deferred, and it fires as soon as that is recorded.
        """


class IRequestSource(Interface):
    """Gives delivery requests to an IDeliveryAgent; each with its content and reporter."""

    def stop(grace_seconds: float) -> Deferred[None]:
        """Take no more requests; fires when those in flight are finished, or `grace_seconds` have passed."""


class IConnectionCache(Interface):
    """Keeps sessions between two messages, and lends each to one delivery at a time.

    What sessions, keys and places are is said in delivery/: to these contracts they are objects. Nothing here ever fails: a
    cache that cannot do its work has no sessions to lend, and closes those that it cannot keep.
    """

    accepts = Attribute("Whether sessions are kept at all; may become False, and then stays so.")

    key_fields = Attribute("The KeyFields that its keys have.")

    def lend(key: Any) -> Any | Deferred[Any | None] | None:
        """Give away a session.

        The delivery asks its server whether it still serves (`Session.wake`), and brings it back with `keep`, or ends it.

        Args:
            key: a DestinationKey or an EndpointKey: the session must have been saved under an equal one.

        Returns:
            A Lent, or None if there is no such session: at once, or a Deferred of it.
        """

    def keep(session: Any, endpoint: Any, destination: Any | None, place: Any) -> Deferred[None] | None:
        """Save a session whose last `transact` left it open; it is closed if it cannot be kept.

        Args:
            session: a Session; nobody may use it any more.
            endpoint: the EndpointKey to save it under.
            destination: the DestinationKey that shall lead to it, too; None: none does.
            place: the Place that it leads to.

        Returns:
            None if that is done, or a Deferred that fires when it is.
        """

    def shed() -> bool:
        """Close the sessions that wait here, since descriptors are needed elsewhere; whether there was any."""

    def close() -> None:
        """Close them, and keep nothing from now on."""


class IDNSClient(Interface):
    """Asks name servers."""

    def lookup(
        name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """Ask for the records of one type at a name.

        Args:
            name: in A-label form, taken as absolute unless `search` says otherwise.
            rdtype: the type.
            dnssec: whether to ask for validated data.
            search: whether it may be completed by the search list of resolv.conf(5).

        Returns:
            Fires with the Answer; never fails: a time-out is an Answer too.
        """


class ISASLMechanism(Interface):
    """One login by one mechanism (RFC 4422): what the client says. Without I/O."""

    name = Attribute("The name of the mechanism, upper case: ``CRAM-MD5``.")

    remark = Attribute(
        "What the server has said, within the mechanism, of why it refuses; for the log; empty: nothing."
    )

    def start() -> bytes | None:
        """The initial response; None: the server speaks first.

        Raises:
            SaslError: this login cannot be done.
        """

    def step(challenge: bytes) -> bytes:
        """The response to a challenge, both without base64.

        Raises:
            SaslError: the challenge makes no sense, or is not the server's that we know.
        """

    def succeeded() -> None:
        """The server says that we are logged in.

        Raises:
            SaslError: it has not proved yet that it knows the password, as the mechanism demands.
        """


class ISASLMechanismFactory(Interface):
    """A mechanism that logins can use.

    A plug-in of twisted.plugin that provides this, and IPlugin, adds one; one whose name is known already takes that one's place.
    """

    name = Attribute("The name of the mechanism, upper case: ``CRAM-MD5`` (RFC 4422 section 3.1).")

    rank = Attribute("An int: of the mechanisms that may be used, the one with the lowest rank is.")

    satisfies = Attribute(
        "A frozenset of the words of smtp_sasl_security_options (postconf(5)) that do not rule the mechanism out."
    )

    blocks = Attribute("Whether `make` may take long: then it is called in a thread.")

    def obstacle(login: Login) -> str:
        """Why this login cannot use the mechanism, for the log; empty: it can. Quick, never raises."""

    def make(login: Login) -> ISASLMechanism:
        """Prepare one login.

        Raises:
            SaslError: it cannot be done.
        """


class SaslError(Exception):
    """A login failed on our side.

    Attributes:
        problem: in the words that reports use, such as ``bad protocol / cancel``; never a secret.
        warning: what else the log should say; empty: nothing.
    """

    def __init__(self, problem: str, warning: str = "") -> None:
        """Keep the problem."""
        super().__init__(problem)
        self.problem = problem
        self.warning = warning


class TokenError(SaslError):
    """There is no access token for a login; mail waits."""


class ITokenProvider(Interface):
    """Gives access tokens of OAuth2 for logins (RFC 6749 section 1.4)."""

    def access_token(user: str, account: str) -> Deferred[str]:
        """An access token that a server will take, by all that is known.

        Args:
            user: who logs in.
            account: the account that the password table names.

        Returns:
            Fires with the token, at once if there is one; fails with TokenError, whose problem says why and what to do.
            Cancelling it ends the waiting, not the request, which others may wait for, too.
        """

    def rejected(account: str, token: str) -> None:
        """Say that a server did not take a token: the next login gets another one, unless that one is a replacement already.

        Never raises.
        """
