"""Which server serves a command, and where it is: the seam for one server, Sentinel and Cluster."""

from .topology import ASKING, Command, Endpoint, Node, NotThere, Topology

__all__ = ["ASKING", "Command", "Endpoint", "Node", "NotThere", "Topology"]
