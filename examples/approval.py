"""A tool that does harm waits for a person, who approves it in another process."""

import subprocess
import sys

from miniagent_redis import (
    AgentConfig,
    Approve,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel

tools = ToolRegistry()


@tools.tool(approve=True, idempotent=False)
def refund(order: int) -> str:
    """Pay an order back."""
    print(f"order {order} is paid back")
    return "done"


def open_agent(*replies) -> SessionAgent:
    """Open an instance of the program, whose model gives these replies."""
    config = AgentConfig(name="Shop", model=ScriptedModel(replies))
    return SessionAgent(config, tools, redis_config=RedisConfig.from_env())


if len(sys.argv) == 1:  # the shop: its customer asks, and the turn is parked
    with open_agent([ToolCall("call-1", "refund", {"order": 7})]) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        result = manager.run(session_id, "I want my money back!")
        print("waits:", [f"{call.name}{call.arguments}" for call in result.waiting])
    subprocess.run([sys.executable, __file__, "office"], check=True)
    with open_agent() as agent:
        print(SessionManager(agent).get_history(session_id)[-1]["content"])
else:  # the office, hours later: it sees what waits, and approves it
    with open_agent("Your money is on its way.") as agent:
        manager = SessionManager(agent)
        for turn in manager.list_waiting():
            answers = {call["id"]: Approve() for call in turn["calls"]}
            print("approved for", turn["user_id"])
            manager.answer(turn["session_id"], turn["turn_id"], answers)
