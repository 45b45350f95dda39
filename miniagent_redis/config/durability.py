"""The names of what an acknowledged write survives, and where none but one can be."""

from __future__ import annotations

from typing import Literal, get_args

from ..errors import InvalidInput
from .address import Address

Durability = Literal["memory", "everysec", "always", "replicated"]
"""What it survives. ``memory``: nothing. ``everysec``: the end of the server, but for its last two
seconds. ``always``: the end of the server and of its machine, for as long as that has its disk.
``replicated``: the loss of the machine, as its replicas have it, in their memory at the least."""
DURABILITIES: tuple[Durability, ...] = get_args(Durability)
"""From the least on."""


def refuse_what_cannot_be(demanded: Durability | None, address: Address) -> None:
    """Raise InvalidInput for a demand that no server at the address can ever meet."""
    cause = ""
    if address.kind == "memory" and demanded not in (None, "memory"):
        cause = "memory:// keeps nothing"
    elif address.kind == "embedded" and demanded == "replicated":
        cause = "the embedded server has no replicas; what it keeps is `always` on its disk"
    if cause:
        raise InvalidInput(
            f"durability={demanded!r} stands beside the url {address}",
            cause=cause,
            hint="name another server in the url, or demand less",
        )
