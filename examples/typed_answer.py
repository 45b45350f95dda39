"""An answer as data: a class says what it must have, and an answer that lacks it is asked again."""

import json
from typing import Any, Literal

import attrs

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolContext


@attrs.frozen
class Order:
    """What a guest wants."""

    dish: Literal["soup", "pasta"]
    portions: int
    note: str | None = None


def waiter(messages: list[dict[str, Any]], context: ToolContext) -> str:
    """Play a model that first gets it wrong; "openai:…" and the like go in its place."""
    print("the model hears:", messages[-1]["content"].splitlines()[0])
    if messages[-1]["content"].startswith("Two"):
        return "Sure! " + json.dumps({"dish": "pizza", "portions": 2})
    return json.dumps({"dish": "pasta", "portions": 2, "note": f"for {context.user_id}"})


def main() -> None:
    config = AgentConfig(model=waiter, system_prompt="You take orders.")
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        result = manager.run(session_id, "Two plates of pasta, please", output=Order)
        order = result.output
        assert order == Order("pasta", 2, "for ada")
        print(f"{order.portions} x {order.dish} ({order.note})")
        for message in manager.get_history(session_id):  # without the wrong answer
            print(f"  {message['role']}: {message['content']}")


if __name__ == "__main__":
    main()
