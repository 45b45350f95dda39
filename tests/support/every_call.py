"""Every public call of a store, made once on a server or cluster that a test has prepared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.support.calls import CALLS
from tests.support.world import World


def make_every_call(url: str, where: str) -> None:
    """Make each call on a store at the url; the first that fails fails the test, with its name."""
    place: Any = SimpleNamespace(proxy=SimpleNamespace(url=url))
    for number, (name, each) in enumerate(CALLS.items()):
        world = World(place, "password wanted", f"w{number}")
        world.wait = 0.05
        try:
            each(world)
            assert world.store.stats().lost_replies == 0, "it was asked again without need"
        except Exception as exc:
            raise AssertionError(f"{name} failed {where}") from exc
        finally:
            world.close()
