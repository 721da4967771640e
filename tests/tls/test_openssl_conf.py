"""The configuration of OpenSSL that main.cf asks for. The words are those of a running Postfix."""

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import write
from tests.tls.engines import EngineBench
from twisted_mta.tls.openssl_conf import Needed, OpensslConfiguration, system_file

FILE = b"""openssl_conf = init
postfix = own
lost = nowhere
unknown = odd
no_ssl = without
no_command = half
[init]
[own]
ssl_conf = own_ssl
providers = whatever
[own_ssl]
system_default = own_default
[own_default]
Groups = X25519
[odd]
foo = bar
[without]
ssl_conf = nowhere
[half]
ssl_conf = half_ssl
[half_ssl]
system_default = nowhere
"""


class ConfigurationTests(SynchronousTestCase):
    """`OpensslConfiguration`."""

    def setUp(self) -> None:
        """A file."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.path = os.path.abspath(write(directory, "openssl.cnf", FILE))

    def test_left_alone(self) -> None:
        """Where nothing is configured nothing is needed, and nothing can be wrong."""
        self.assertTrue(OpensslConfiguration().is_default)
        self.assertIsNone(OpensslConfiguration().needed())
        self.assertIsNone(OpensslConfiguration().problem())

    def test_no_file(self) -> None:
        """None is what it says, whatever the name."""
        self.assertEqual(OpensslConfiguration("none", "postfix").needed(), Needed("/dev/null"))

    def test_file(self) -> None:
        """A file counts as it is, or from another name, or not at all where it does not have that name."""
        self.assertEqual(OpensslConfiguration(self.path).needed(), Needed(self.path))
        content = f".include {self.path}\n[default]\nopenssl_conf = own\n"
        self.assertEqual(OpensslConfiguration(self.path, "postfix").needed(), Needed(content=content))
        self.assertEqual(OpensslConfiguration(self.path, "absent").needed(), Needed("/dev/null"))

    def test_name_in_system_file(self) -> None:
        """Where the system's file does not have a name, it counts as it is."""
        path, wanted = system_file(), OpensslConfiguration("default", "surely_not_there")
        self.assertIsNone(wanted.problem())
        self.assertEqual(wanted.needed(), Needed(str(path)) if path else None)

    def test_problems(self) -> None:
        """What is wrong with a file is told, and there is no TLS."""

        def told(file: str, name: str = "") -> list[str]:
            bench = EngineBench(tls_config_file=file, tls_config_name=name)
            self.assertIsNone(bench.made)
            self.assertIsNone(OpensslConfiguration(file, name).needed())
            return [line.removeprefix("warning: ").replace(self.path, "FILE") for line in bench.log]

        self.assertEqual(
            told("openssl.cnf"),
            ["non-default tls_config_file = openssl.cnf is not an absolute pathname, disabling TLS support"],
        )
        self.assertEqual(
            told("/does/not/exist")[0],
            "error loading the 'global' settings from the /does/not/exist OpenSSL configuration file,"
            " disabling TLS support",
        )
        problem = "TLS library problem: error:%s:configuration file routines::%s:"
        broken = problem % ("0700006D", "module initialization error:module=ssl_conf, value=%s retcode=-1      ")
        cases = {
            "lost": [problem % ("0700007C", "openssl conf references missing section:openssl_conf=nowhere")],
            "unknown": [problem % ("07000071", "unknown module name:module=foo")],
            "no_ssl": [problem % ("07000078", "ssl section not found:section=nowhere"), broken % "nowhere"],
            "no_command": [
                problem % ("07000076", "ssl command section not found:name=system_default, value=nowhere"),
                broken % "half_ssl",
            ],
        }
        for name, lines in cases.items():
            first = (
                f"error loading the '{name}' settings from the FILE OpenSSL configuration file, disabling TLS support"
            )
            self.assertEqual(told(self.path, name), [first, *lines])

    def test_not_in_force(self) -> None:
        """Where the library was loaded without what is wanted now, that is told, and there is TLS."""
        bench = EngineBench(tls_config_file=self.path, tls_config_name="postfix")
        self.assertIsNotNone(bench.made)
        self.assertEqual(
            bench.log,
            [
                f"warning: tls_config_file = {self.path}, tls_config_name = postfix: OpenSSL was loaded without that;"
                " restart the service"
            ],
        )
