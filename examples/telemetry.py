"""What a program spends its time on: an instrument that counts, and the figures of the agent."""

import threading
from collections import Counter

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.telemetry import End, Exchange, ModelCall, ToolRun, TurnRun, Work


def name(work: Work) -> str:
    match work:
        case Exchange():
            return f"redis {work.operation}"
        case ModelCall():
            return f"model {work.model}"
        case ToolRun():
            return f"tool {work.tool}"
        case TurnRun():
            return f"turn {work.outcome}"
    return "other"


class Counting:
    """Counts and adds up seconds, as a client of a metrics system would."""

    def __init__(self) -> None:
        self.times = Counter[str]()
        self.seconds = dict[str, float]()
        self.errors = Counter[str]()
        self._lock = threading.RLock()  # many threads tell it of their work

    def begin(self, work: Work) -> End:
        return lambda: self.note(work)

    def note(self, work: Work) -> None:
        with self._lock:
            self.times[name(work)] += 1
            self.seconds[name(work)] = self.seconds.get(name(work), 0.0) + work.seconds
            if work.error:
                self.errors[f"{name(work)}: {work.error}"] += 1


counting = Counting()
config = AgentConfig(model="demo")
with SessionAgent(config, redis_config=RedisConfig.from_env(), instrumentation=counting) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    manager.chat(session_id, "My name is Ada")
    manager.chat(session_id, "What is 6 * 7?")
    stats = agent.stats()

for what, seconds in sorted(counting.seconds.items()):
    print(f"{what:25} {counting.times[what]:3} times {seconds * 1000:8.2f} ms")
assert counting.times["turn answered"] == 2
assert not counting.errors
print(f"{stats.store.connections.made} connections, {stats.kept_bytes} bytes of threads kept")
