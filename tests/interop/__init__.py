"""The service under a real Postfix, with real sockets; needs root, and runs in a private network."""

from tests.kit.namespace import enter

enter()
