"""Which server serves a command, and where it is: the seam for one server, Sentinel and Cluster."""

from .one import OneServer
from .topology import Command, Endpoint, Node, Topology

__all__ = ["Command", "Endpoint", "Node", "OneServer", "Topology"]
