"""Pass a connection of the queue manager on to the resident service: the command that spawn(8) starts for each delivery.

    master.cf:  NAME unix - n n - - spawn user=USER argv=/usr/bin/python3 -I -S .../spawn_shim.py [--control PATH]

or argv=smtpdeliver-spawn, which does the same and takes longer to start. PATH defaults to /run/smtpdeliver/handoff.sock:
a directory that every user can enter, unlike those of Postfix, since spawn(8) runs no command as the mail owner.
Flow: spawn(8) connects the queue manager's socket to descriptors 0, 1 and 2; this passes 0 on to postfix/handoff.py, waits until
it is served, and exits: 0 if it is, or a status of sysexits.h. Then the queue manager sees the connection end, and tries again.
Sources: spawn(8); unix(7) (SCM_RIGHTS); sysexits.h.

Starting this costs more than all it does, so it imports next to nothing: the C module behind `socket`, and no argument parser.
Nothing may be written to 0, 1 or 2: all three are the connection.
"""

import os
import sys

DEFAULT_CONTROL = "/run/smtpdeliver/handoff.sock"
"""Where postfix/handoff.py listens, unless told otherwise."""

_WAIT_SECONDS = 10
_CONNECTION = 0
_STDERR = 2


def main() -> None:
    """Run the command, and end the process."""
    silence(_STDERR)
    # Not sys.exit: what Python does at its end takes time, and could only write to where nothing may be written.
    os._exit(run(sys.argv[1:]))


def silence(descriptor: int) -> None:
    """Send what is written to a descriptor nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def run(arguments: list[str]) -> int:
    """Pass descriptor 0 on.

    Args:
        arguments: of the command line.

    Returns:
        The exit status.
    """
    control = DEFAULT_CONTROL
    if arguments:
        if len(arguments) != 2 or arguments[0] != "--control":
            _complain("usage: smtpdeliver-spawn [--control PATH]")
            return os.EX_USAGE
        control = arguments[1]
    try:
        served = hand_over(_CONNECTION, control)
    except (OSError, ValueError) as error:
        _complain(f"pass connection to {control}: {error}")
        return os.EX_UNAVAILABLE
    if not served:
        _complain(f"pass connection to {control}: refused, see the log of the service")
        return os.EX_TEMPFAIL
    return os.EX_OK


def hand_over(descriptor: int, control: str) -> bool:
    """Pass a descriptor to whoever listens on a socket.

    Args:
        descriptor: an open connection.
        control: the path of the socket.

    Returns:
        Whether it is served there.

    Raises:
        OSError: nobody listens, or there was no answer in time.
        ValueError: the path cannot be one.
    """
    import _socket

    service = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    # Limits of the kernel, since those of Python make the socket non-blocking: then a full backlog would be an error.
    limit = _WAIT_SECONDS.to_bytes(8, sys.byteorder) + bytes(8)
    service.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
    service.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, limit)
    try:
        service.connect(control)
        rights = descriptor.to_bytes(4, sys.byteorder)
        service.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        return len(service.recv(1)) == 1
    finally:
        service.close()


def _complain(problem: str) -> None:
    """Say it in the mail log."""
    import syslog

    syslog.openlog("postfix/smtpdeliver-spawn", syslog.LOG_PID, syslog.LOG_MAIL)
    syslog.syslog(syslog.LOG_WARNING, f"warning: {problem}")


if __name__ == "__main__":
    main()
