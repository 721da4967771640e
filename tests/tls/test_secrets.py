"""Private keys and the secrets of sessions stay where they are: in no line of the log, no exception, no representation."""

import gc
from pathlib import Path

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import EngineBench, policy
from twisted_mta.model.events import Event
from twisted_mta.tls.policy_error import TlsPolicyError
from twisted_mta.tls.trust_anchor_files import TrustAnchorFiles

CLIENT = shared_pki()["client_rsa"]
OTHER = shared_pki()["client"]
LOUD = {"smtp_tls_loglevel": "4", "smtp_tls_session_cache_database": "btree:x"}


class SecretTests(SynchronousTestCase):
    """What must not be seen."""

    def write(self, content: bytes) -> str:
        """A file."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)

    def check(self, *told: str) -> None:
        """No line of the keys' files is there, in whatever form."""
        text = "\n".join(told)
        for identity in (CLIENT, OTHER):
            lines = identity.key_pem.decode().splitlines()[1:-1]
            for secret in (*lines, identity.key_pem.hex()[60:120]):
                self.assertNotIn(secret, text)
                self.assertNotIn(secret[: len(secret) // 2], text)

    def test_damaged_files(self) -> None:
        """Whatever is wrong with a file of keys, the log has its name and not its content."""
        key, chain = CLIENT.key_pem, CLIENT.chain_pem
        for content in (
            key,
            chain + key,
            key + key + chain,
            key + OTHER.chain_pem,
            key[:-40] + chain,
            key[:300] + b"\n" + chain,
            key.replace(b"BEGIN PRIVATE", b"BEGIN EC PRIVATE").replace(b"END PRIVATE", b"END EC PRIVATE") + chain,
            key.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY") + chain,
            key.replace(b"PRIVATE KEY", b"SOMETHING ELSE") + chain,
            key[40:] + chain,
        ):
            path = self.write(content)
            for settings in (
                {"smtp_tls_chain_files": path},
                {"smtp_tls_cert_file": path},
                {"smtp_tls_eccert_file": self.write(OTHER.chain_pem), "smtp_tls_eckey_file": path},
                {"smtp_tls_CAfile": path},
            ):
                bench = EngineBench(**LOUD, **settings)
                self.check(*bench.log, *map(repr, bench.events))

    def test_trust_anchors(self) -> None:
        """A key in a file of trust anchors is passed over."""
        told: list[Event] = []
        anchors = TrustAnchorFiles("/", told.append, tells=True)
        for content in (CLIENT.key_pem, CLIENT.key_pem + CLIENT.chain_pem, CLIENT.key_pem[:-30]):
            try:
                self.check(repr(anchors.load((self.write(content),))))
            except TlsPolicyError as error:
                self.check(repr(error), str(error))
        self.check(*map(repr, told))

    def test_handshakes(self) -> None:
        """The loudest log, dumps included, and everything that an engine holds, show neither keys nor the secrets of sessions."""
        bench = EngineBench(**LOUD, smtp_tls_chain_files=self.write(CLIENT.key_pem + CLIENT.chain_pem))
        server = TlsServer(
            shared_pki()["valid"], asks_for_certificate=True, versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
        )
        for _ in range(2):
            handshake, _state = bench.shake(server, policy())
        secret = handshake.connection.master_key()
        assert secret is not None
        held = [repr(each) for each in gc.get_objects() if str(type(each).__module__).startswith("twisted_mta.tls")]
        self.assertGreater(len(held), 5)
        lines = [*bench.log, *map(repr, bench.events), *held]
        self.check(*lines)
        for form in (secret.hex(), secret.hex().upper(), repr(secret)[2:-1]):
            self.assertNotIn(form[:40], "\n".join(lines))
