"""A turn is started, its process killed with kill -9, and the turn found again: another ends it."""

import os
import signal
import subprocess
import sys
import threading

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, TextDelta


class Thinker:
    """A model that answers, or thinks for ever."""

    def __init__(self, forever: bool) -> None:
        self.forever = forever

    def stream(self, request):
        if self.forever:
            print("thinking", flush=True)
            threading.Event().wait()
        yield TextDelta("Here it is.")
        yield Finish()


def open_agent(forever: bool) -> SessionAgent:
    """Open an instance of the program; a short lease, so that the example is short."""
    config = RedisConfig.from_env({**os.environ, "MINIAGENT_LEASE_TTL": "1"})
    return SessionAgent(AgentConfig(name="Thinker", model=Thinker(forever)), redis_config=config)


if len(sys.argv) > 1:  # the process that will be killed
    with open_agent(forever=True) as agent:
        SessionManager(agent).start(sys.argv[1], "Think!", turn_id="job-1")
        threading.Event().wait()

with open_agent(forever=False) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    command = [sys.executable, __file__, session_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        print(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
    print(manager.turn(session_id, "job-1").state)
    for event in manager.watch(session_id, turn_id="job-1", timeout=20):
        print(event.type.value, event.text)
    state = manager.turn(session_id, "job-1")
    print(state.state, state.text)
    assert state.state == "completed"
    assert state.result == manager.run(session_id, "Think!", turn_id="job-1")
