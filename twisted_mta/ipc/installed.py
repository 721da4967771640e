"""Which Postfix this machine runs: its own postconf(1) says so.

Flow: generations.py and cli/ ask once; what speaks with private sockets gets the answer.
Sources: postconf(1), postconf(5) mail_version, command_directory.
"""

import os
import shutil
import subprocess

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.version import PostfixVersion


def postfix_version(settings: Settings) -> PostfixVersion:
    """The version of the Postfix that drives us, which decides what its private sockets speak.

    Raises:
        ConfigError: its postconf(1) cannot be run, or says something else.
    """
    postconf = os.path.join(settings.command_directory, "postconf")
    command = postconf if os.access(postconf, os.X_OK) else shutil.which("postconf") or postconf
    try:
        said = subprocess.run([command, "-dh", "mail_version"], capture_output=True, text=True, check=True, timeout=10)
        return PostfixVersion.parse(said.stdout.strip())
    except (OSError, subprocess.SubprocessError, IpcError) as error:
        text = f"cannot find out the version of Postfix: {error}"
        raise settings.located(ConfigError(text, parameter="command_directory")) from error
