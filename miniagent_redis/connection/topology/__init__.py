"""Which server serves a command, and where it is: the seam for one server, Sentinel and Cluster."""

from .choose import choose
from .cluster import Cluster
from .one import OneServer
from .topology import ASKING, Command, Endpoint, Node, NotThere, Topology

__all__ = [
    "ASKING",
    "Cluster",
    "Command",
    "Endpoint",
    "Node",
    "NotThere",
    "OneServer",
    "Topology",
    "choose",
]
