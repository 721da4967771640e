"""Paths for sockets of tests: the name of a UNIX-domain socket has at most 107 octets (unix(7)), which trial's own can exceed."""

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase


def socket_path(case: SynchronousTestCase) -> str:
    """The path of a socket that is not there yet, in a folder that goes away with the test."""
    folder = tempfile.mkdtemp(prefix="t")
    case.addCleanup(shutil.rmtree, folder)
    return os.path.join(folder, "socket")
