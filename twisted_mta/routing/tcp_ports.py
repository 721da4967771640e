"""The parameter known_tcp_ports: service names with their ports, before services(5) is asked.

Flow: routing/settings.py reads it once per configuration; routing/destination.py looks ports up.
Sources: postconf(5) known_tcp_ports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class KnownTcpPorts:
    """What known_tcp_ports says.

    Attributes:
        ports: numbers in digits by name; whether one is a valid port shows when it is used.
        problems: a text for each part that cannot be used.
    """

    ports: Mapping[str, str]
    problems: tuple[str, ...]


def parse_known_tcp_ports(text: str) -> KnownTcpPorts:
    """Read ``name=number, name=name=number, ...``; what cannot be used is reported and left out.

    Args:
        text: the parameter's value.
    """
    ports: dict[str, str] = {}
    problems: list[str] = []
    for entry in filter(None, text.split(",")):
        *names, port = (part.strip(_BLANKS) for part in entry.split("="))
        if not names:
            problems.append(f'in "{entry}" is not in "name = value" form')
        elif why := _port_problem(port):
            problems.append(f'in "{entry}": {why}')
        else:
            for name in names:
                if why := _name_problem(name, ports):
                    problems.append(f'in "{entry}": {why}')
                else:
                    ports[name] = port
    return KnownTcpPorts(MappingProxyType(ports), tuple(problems))


def _port_problem(port: str) -> str:
    if not port:
        return 'missing port value after "="'
    if any(blank in port for blank in _BLANKS):
        return "whitespace in port number"
    return "" if port.isdigit() and port.isascii() else "non-numerical service port"


def _name_problem(name: str, known: Mapping[str, str]) -> str:
    if not name:
        return 'missing service name before "="'
    if any(blank in name for blank in _BLANKS):
        return "whitespace in service name"
    if name.isdigit() and name.isascii():
        return "numerical service name"
    return "duplicate service name" if name in known else ""
