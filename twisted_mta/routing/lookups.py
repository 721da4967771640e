"""The means that every kind of look-up needs.

Flow: routing/router.py makes one Lookups for a configuration; routing/mx.py and routing/srv.py use it.
"""

from dataclasses import dataclass

from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.events import Emit
from twisted_mta.routing.addresses import Hosts
from twisted_mta.routing.order import RandomSource
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.settings import RoutingSettings


@dataclass(frozen=True, slots=True)
class Lookups:
    """What look-ups are made with.

    Attributes:
        settings: the parameters.
        dns: asks name servers.
        hosts: looks up addresses of hosts.
        own: the addresses of this machine.
        emit: takes events.
        random: the source of chance.
    """

    settings: RoutingSettings
    dns: IDNSClient
    hosts: Hosts
    own: OwnAddresses
    emit: Emit
    random: RandomSource
