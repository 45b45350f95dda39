"""The parts of one store, put together: each noun is handed what it stands on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve

from ..errors import StoreUnavailable
from .along import Along
from .appending import Appending
from .branch_index import BranchIndex
from .branches import Branches
from .budgets import Budgets
from .cache import Cache
from .channels import Channels
from .core import StoreCore
from .events import Events
from .expiry import Expiry
from .forgetting import Forgetting
from .health import HealthChecks
from .index import Index
from .keys import check_namespace
from .limits import Limits
from .listing import Listing
from .locks import Locks
from .message_records import MessageRecords
from .open_turns import OpenTurns
from .parking import Parking
from .recovery import Recovery
from .renewal import Renewal
from .resolving import Resolving
from .rewinding import Rewinding
from .room import Room
from .search import Search
from .sessions import Sessions
from .shown_text import ShownText
from .single_flight import SingleFlight
from .storing import Storing
from .threads import Threads
from .titles import Titles
from .transfer import Transfer
from .turn_begin import TurnBegin
from .turn_opening import TurnOpening
from .turn_queue import TurnQueue
from .turn_watching import TurnWatching
from .turns import Turns
from .usage import UsageCounts
from .watching import Watching

N = TypeVar("N")


class Parts:
    """The nouns of one namespace on one core, and those of its tenants on the same connections.

    An ``index`` that is handed in takes the place of the usual one.
    """

    def __init__(
        self, core: StoreCore, root: Parts | None = None, index: Index | None = None
    ) -> None:
        records = MessageRecords(core)
        if core.config.on_full == "trim":
            core = evolve(core, make_room=Room(core, records).make)
        self.core: StoreCore = core
        self.health: HealthChecks = HealthChecks(core)
        self.root: Parts = self if root is None else root
        self._tenants: dict[str, Parts] = {}
        self.index: Index = index or Index(core)
        self.sessions: Sessions = Sessions(core, self.index)
        self.threads: Threads = Threads(core, records)
        self.appending: Appending = Appending(core, self.threads, self.index, records)
        self.transfer: Transfer = Transfer(core, self.sessions, self.threads, self.index, records)
        self.recovery: Recovery = Recovery(core, self.index)
        self.branch_index: BranchIndex = BranchIndex(core)
        self.renewal: Renewal = Renewal(
            core, self.sessions, self.threads, self.index, records, self.recovery, self.branch_index
        )
        self.queue: TurnQueue = TurnQueue(core)
        self.events: Events = Events(core)
        self.shown_text: ShownText = ShownText(core, self.events)
        opening = TurnOpening(core, self.threads, records, self.queue, self.shown_text)
        self.turn_begin: TurnBegin = TurnBegin(core, opening)
        self.turns: Turns = Turns(core, records)
        self.storing: Storing = Storing(core, self.threads, self.index, records)
        self.open_turns: OpenTurns = OpenTurns(core, self.threads, records)
        self.resolving: Resolving = Resolving(core, self.threads)
        self.titles: Titles = Titles(core, self.sessions, self.index)
        self.listing: Listing = Listing(core, self.index, self.titles)
        self.branches: Branches = Branches(
            core,
            self.sessions,
            self.threads,
            self.index,
            records,
            self.listing,
            self.branch_index,
            self.titles,
        )
        self.rewinding: Rewinding = Rewinding(
            core, self.sessions, self.index, self.branches, self.open_turns
        )
        self.search: Search = Search(core, self.listing, records)
        self.parking: Parking = Parking(core, self.index, self.listing, self.recovery, records)
        self.expiry: Expiry = Expiry(core, self.index, records)
        self.watching: Watching = Watching(
            core, self.events, TurnWatching(self.events, self.open_turns)
        )
        self.locks: Locks = Locks(core)
        self.cache: Cache = Cache(core)
        self.flights: SingleFlight = SingleFlight(core, self.cache, self.locks)
        self.limits: Limits = Limits(core)
        self.budgets: Budgets = Budgets(core)
        self.usage: UsageCounts = UsageCounts(core)
        self.forgetting: Forgetting = Forgetting(
            core, self.index, self.limits, self.budgets, self.usage
        )
        self.along: Along = Along(core, self.index, self.usage)
        self.channels: Channels = Channels(core)
        self._by_kind: dict[type[Any], Any] = {type(noun): noun for noun in vars(self).values()}

    def tenant(self, namespace: str) -> Parts:
        """Return the parts of another namespace on the same connections, the same ones each time.

        They are kept for as long as the store is. Raises InvalidInput for what is no namespace.
        """
        root = self.root
        if check_namespace(namespace) == root.core.config.namespace:
            return root
        known = root._tenants.get(namespace)
        return known or root._tenants.setdefault(
            namespace, Parts(root.core.tenant(namespace), root)
        )

    def family(self) -> list[Parts]:
        """Return the parts of all namespaces on these connections, the store's own first."""
        return [self.root, *self.root._tenants.copy().values()]

    def part(self, kind: type[N]) -> N:
        """Return the noun of a class."""
        found: N = self._by_kind[kind]
        return found

    def finish(self) -> None:
        """Stop listening, give locks back, write what is noted. While Redis is away it is lost."""
        self.channels.unsubscribe()
        with suppress(StoreUnavailable):  # it is logged, and the rest would meet it too
            self.locks.give_back()
            self.write()

    def write(self) -> None:
        """Write what is noted. Raises StoreUnavailable; then it is kept."""
        self.index.write()
        self.usage.write()
        self.titles.write()
