"""A subclass that uses for itself every name that a store might use inside.

The store's suite runs on it: what users build on RedisSessionManager never collides with what is
in it. The names are those that the store's many base classes once had, and those of its nouns now.
"""

from __future__ import annotations

from typing import Any

from miniagent_redis.store.manager import RedisSessionManager

_TAKEN = """
    alive begin_after_waiting cache_computed cache_entry cache_stats call call_hook call_many
    channel claim contents count count_anew count_cache count_usage_anew counting data
    document_record due_shards early end ending entries event_data events_behind events_of expire
    give_locks_back hear held hold_nothing keys_of load look mark_commands marks marks_lock
    marks_since message_records messages news of_turn open prune prune_entry prune_if_old pubsub
    put_back put_in_indexes read readable reading record remove run run_limits run_on run_turn
    send_usage slice staged stamped start_listening_anew start_marking_anew taken told touch
    usage_batch usage_flush usage_lock usage_noted usage_sender usage_sent wait_for_more withdraw
    write_marks write_usage parts core index format clock config connections keys scripts
"""
NAMES = [f"_{name}" for name in _TAKEN.split()]


class Crowded(RedisSessionManager):
    """Has each of these names twice: as its own, and as its class's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        of_nouns = {name for noun in vars(self.parts).values() for name in dir(noun)}
        for name in {*NAMES, *of_nouns}:
            if name[0] == "_" and name[:2] != "__":
                setattr(self, name, 0)


for _name in NAMES:
    setattr(Crowded, _name, None)
