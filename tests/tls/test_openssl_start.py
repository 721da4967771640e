"""Starting again for OpenSSL's sake."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import write
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import MARK, OPENSSL_CONF, is_in_force, start_again_if_needed

FILE = b"""openssl_conf = init
postfix = own
[init]
[own]
ssl_conf = own_ssl
[own_ssl]
system_default = own_default
[own_default]
Ciphersuites = TLS_CHACHA20_POLY1305_SHA256
"""

PROGRAM = """
import sys
from OpenSSL import SSL  # as Twisted does it, long before main.cf is read
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import is_in_force, start_again_if_needed
wanted = OpensslConfiguration(sys.argv[1], sys.argv[2])
start_again_if_needed(wanted)
ciphers = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None).get_cipher_list()
print([cipher for cipher in ciphers if cipher.startswith("TLS_")], is_in_force(wanted), sys.argv[3])
"""


class StartTests(SynchronousTestCase):
    """`start_again_if_needed`."""

    def setUp(self) -> None:
        """A file."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.path = os.path.abspath(write(directory, "openssl.cnf", FILE))
        self.started: list[tuple[str, list[str]]] = []

    def started_with(self, wanted: OpensslConfiguration, environment: Mapping[str, str]) -> dict[str, str] | None:
        """The environment of a new start; None: there was none."""
        environments: list[Mapping[str, str]] = []

        def execve(program: str, words: list[str], changed: Mapping[str, str]) -> None:
            self.started.append((program, words))
            environments.append(changed)

        start_again_if_needed(wanted, environment, execve, lambda content: f"file of {content!r}")
        return dict(environments[0]) if environments else None

    def test_not_needed(self) -> None:
        """Where nothing is configured the process goes on, also with a file that its environment names."""
        self.assertIsNone(self.started_with(OpensslConfiguration(), {OPENSSL_CONF: "/some/file"}))

    def test_once(self) -> None:
        """The new start has what is wanted, the same command line, and everything else as it was; it needs no other one."""
        for wanted in (OpensslConfiguration("none"), OpensslConfiguration(self.path)):
            self.assertFalse(is_in_force(wanted, {}))
            changed = self.started_with(wanted, {"HOME": "/", OPENSSL_CONF: "/some/file"})
            assert changed is not None
            self.assertEqual(changed["HOME"], "/")
            self.assertEqual(changed[OPENSSL_CONF], "/dev/null" if wanted.file == "none" else self.path)
            self.assertTrue(is_in_force(wanted, changed))
            self.assertIsNone(self.started_with(wanted, changed))
        self.assertEqual(self.started[0], (sys.executable, [sys.executable, *sys.orig_argv[1:]]))

    def test_children(self) -> None:
        """A file in memory is not there for children, so that these start again themselves; a file on disk is."""
        wanted = OpensslConfiguration(self.path, "postfix")
        changed = self.started_with(wanted, {})
        assert changed is not None
        self.assertTrue(changed[OPENSSL_CONF].startswith("file of "))
        self.assertIsNone(self.started_with(wanted, changed))
        inherited = changed | {MARK: changed[MARK].replace(str(os.getpid()), "1", 1)}
        self.assertIsNotNone(self.started_with(wanted, inherited))
        changed = self.started_with(OpensslConfiguration(self.path), {})
        assert changed is not None
        inherited = changed | {MARK: changed[MARK].replace(str(os.getpid()), "1", 1)}
        self.assertIsNone(self.started_with(OpensslConfiguration(self.path), inherited))

    def test_changes(self) -> None:
        """What is wanted no longer is taken back."""
        changed = self.started_with(OpensslConfiguration("none"), {"HOME": "/"})
        assert changed is not None
        self.assertFalse(is_in_force(OpensslConfiguration(), changed))
        self.assertEqual(self.started_with(OpensslConfiguration(), changed), {"HOME": "/"})
        self.assertEqual(
            (self.started_with(OpensslConfiguration(self.path), changed) or {}).get(OPENSSL_CONF), self.path
        )

    def test_unusable(self) -> None:
        """For a configuration that cannot be used nothing is started again: there is no TLS with it anyway."""
        self.assertIsNone(self.started_with(OpensslConfiguration("/does/not/exist"), {}))

    def test_in_a_process(self) -> None:
        """A process whose library was loaded long ago starts again, and has what the file says."""
        words = [sys.executable, "-c", PROGRAM, self.path, "postfix", "word"]
        root = str(Path(__file__).parents[2])
        ran = subprocess.run(words, capture_output=True, text=True, check=True, cwd=root, timeout=60)
        self.assertEqual(ran.stdout, "['TLS_CHACHA20_POLY1305_SHA256'] True word\n")
