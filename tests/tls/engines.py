"""An engine under test, its clock, its log, and handshakes with servers in memory.

Flow: tests of tls/engine.py and tls/handshake.py.
"""

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.pki import HOST
from tests.kit.tls_server import TlsServer, pass_on, shake_hands
from twisted_mta.config.settings import load_settings
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.engine import Handshake, TlsEngine
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.state import TlsState

NAMADDR = f"{HOST}[192.0.2.1]"
PEER = Peer(HOST, "192.0.2.1", NAMADDR, f"{NAMADDR}:25", "dest.example")
SERVER = f"{NAMADDR}:25"
"""The server, as lines name it."""


def policy(level: Level = Level.MAY, **wishes: Any) -> TlsPolicy:
    """A policy; `wishes` are attributes of TlsPolicy."""
    defaults: dict[str, Any] = {"protocols": ">=TLSv1", "nexthop": "dest.example"}
    return TlsPolicy(level, **(defaults | wishes))


class MemoryStore:
    """Keeps sessions in the place of tlsmgr(8).

    Attributes:
        kept: what is stored, by key.
        asked: the keys that were looked up.
    """

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def lookup(self, key: str) -> bytes | None:
        """What is stored under a key."""
        self.asked.append(key)
        return self.kept.get(key)

    def update(self, key: str, value: bytes) -> None:
        """Store something."""
        self.kept[key] = value

    def delete(self, key: str) -> None:
        """Store it no longer."""
        self.kept.pop(key, None)


class EngineBench:
    """An engine made from settings; smtp_tls_loglevel is 1 unless they say otherwise.

    Attributes:
        clock: its clock.
        events: what it told.
        made: the engine; None: there is none.
        store: where its sessions outlive it.
    """

    def __init__(self, *, protocol: str = "smtp", store: Any = None, **settings: str) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        settings = {f"{protocol}_tls_loglevel": "1"} | settings
        loaded = load_settings(None, protocol=protocol, overrides=list(settings.items()))
        self.store = store
        self.made = TlsEngine.from_settings(loaded, self.events.append, self.clock, store)

    @property
    def engine(self) -> TlsEngine:
        """The engine, which there must be."""
        assert self.made is not None, self.log
        return self.made

    @property
    def log(self) -> list[str]:
        """What it told, as lines; warnings with ``warning: `` in front."""
        style = LogStyle(True, 2, True)
        lines = (line_of(event, style) for event in self.events)
        return [f"{severity.name.lower()}: {text}".removeprefix("info: ") for severity, text in lines]

    def told(self) -> list[str]:
        """What it told since the last time."""
        lines = self.log
        self.events.clear()
        return lines

    def begin(self, wanted: TlsPolicy, ehlo_name: str = HOST, peer: Peer = PEER) -> Handshake:
        """Prepare a handshake.

        Raises:
            TlsStartError: it cannot begin.
        """
        began: list[Any] = []
        Deferred.fromCoroutine(self.engine.begin(wanted, peer, ehlo_name)).addBoth(began.append)
        (result,) = began
        if isinstance(result, Handshake):
            return result
        raise result.value

    def shake(self, server: TlsServer, wanted: TlsPolicy, ehlo_name: str = HOST) -> tuple[Handshake, TlsState]:
        """Shake hands with a server, hear it say something, and hang up.

        Raises:
            SSL.Error: the handshake failed.
        """
        handshake, end = self.begin(wanted, ehlo_name), server.accept()
        state = self.finish(handshake, end)
        end.send(b"250 ok\r\n")
        pass_on(handshake.connection, end)
        assert handshake.connection.recv(100) == b"250 ok\r\n"
        handshake.application_data_came()
        handshake.closed()
        return handshake, state

    def finish(self, handshake: Handshake, end: SSL.Connection) -> TlsState:
        """Shake hands to the end.

        Raises:
            SSL.Error: the handshake failed, which the Handshake has been told.
        """
        try:
            shake_hands(handshake.connection, end)
        except SSL.Error as error:
            handshake.failed(error)
            handshake.closed()
            raise
        return handshake.completed()
