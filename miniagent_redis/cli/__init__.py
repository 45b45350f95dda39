"""The command line ``miniagent-redis``: talk to an agent, and look after the conversations."""

from .main import main

__all__ = ["main"]
