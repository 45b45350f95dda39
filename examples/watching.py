"""One process answers, another one watches and presses Stop: here two agents in two threads."""

import threading
import time

from miniagent_redis import AgentConfig, EventType, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, TextDelta


class Talkative:
    """A model that takes its time."""

    def stream(self, request):
        for number in range(1, 1000):
            time.sleep(0.02)
            yield TextDelta(f"{number} ")
        yield Finish()


def watch(manager: SessionManager, session_id: str, after: str) -> None:
    """Show the answer while it grows; stop it when it is long enough."""
    heard = 0
    for event in manager.watch(session_id, after):
        if event.type is EventType.TEXT_DELTA:
            print(event.text, end="", flush=True)
            heard += len(event.text)
            if heard > 60:
                manager.cancel(session_id)  # the answer so far is kept
        elif event.type is EventType.AGENT_RESPONSE:
            print("\nwhole answer:", event.text)
            return


config = RedisConfig.from_env()
with (
    SessionAgent(AgentConfig(model=Talkative()), redis_config=config) as answering,
    SessionAgent(redis_config=config) as watching,
):
    manager = SessionManager(answering)
    session_id = manager.create_or_resume_session(user_id="ada")
    last = list(manager.watch(session_id, after="", timeout=0.05))[-1]
    watcher = threading.Thread(
        target=watch, args=(SessionManager(watching), session_id, last.id), daemon=True
    )
    watcher.start()
    result = manager.run(session_id, "Count!")
    watcher.join(20)
    assert result.interrupted
    print(f"stopped after {result.text.split()[-1]}")
