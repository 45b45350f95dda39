"""A slow tool and a model that is paid for: asked the same again, both answer from the cache."""

import time

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
    ToolRegistry,
)

tools = ToolRegistry()
callbacks = StreamCallback()


@tools.tool(name="calculator", cache_ttl=600, shared=True)
def calculate(expression: str) -> str:
    """Work out an expression, slowly."""
    time.sleep(0.2)
    return str(sum(int(number) for number in expression.split("+")))


@callbacks.on(EventType.CACHE_HIT)
def tell(event):
    print(f"  from the cache: {event.data['what']} {event.data['name']}")


def main() -> None:
    config = AgentConfig(model="demo", model_cache_ttl=600)
    with SessionAgent(config, tools, callbacks, RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        for user_id in ("ada", "ada", "eve"):
            # The tool's result is everybody's; the model's replies are each user's own.
            session_id = manager.create_or_resume_session(user_id)
            result = manager.run(session_id, "What is 20 + 22?")
            print(f"{user_id}: {result.text} with {result.cache_hits} steps from the cache,")
            print(f"  {result.saved_seconds:.1f} s and {result.saved_tokens} tokens saved")
        # Anything else, in any process: one computes it, the others wait for its value.
        rates = agent.store.cache_get_or_set("rates", lambda: {"EUR": 1.17}, ttl=60)
        print(rates, agent.store.cache_stats)


if __name__ == "__main__":
    main()
