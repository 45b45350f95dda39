"""One conversation with tools, begun with one vendor's model, and continued with another's.

    python vendors.py openai:gpt-… anthropic:claude-…

The names begin with openai:, anthropic: or gemini:, and may end in @URL. Each vendor's SDK is an
extra, as in pip install 'miniagent-redis[openai]'; the keys are in OPENAI_API_KEY,
ANTHROPIC_API_KEY and GEMINI_API_KEY. Without a second name the first model goes on.
"""

import sys

import miniagent_redis as ma

QUESTIONS = (
    "I am in Oslo, and free tomorrow. How is the weather in Bergen, and when is there a train?",
    "And how is it in Oslo? Tell me in one sentence if I should go.",
)
tools = ma.ToolRegistry()


@tools.tool
def weather(city: str) -> str:
    """Tell tomorrow's weather in a city."""
    return {"Bergen": "rain, 9 °C", "Oslo": "sunny, 14 °C"}.get(city, "unknown")


@tools.tool
def trains(start: str, end: str) -> list[str]:
    """Tell tomorrow's trains from one city to another: when they leave."""
    return ["06:25", "12:03", "16:51"] if start != end else []


def ask(model: str, question: str, session_id: str | None) -> str:
    """Ask one question, tell what comes of it, and return the id of the session."""
    config = ma.AgentConfig(model=model, system_prompt="Use the tools. Be brief.")
    with ma.SessionAgent(config, tools, redis_config=ma.RedisConfig.from_env()) as agent:
        manager = ma.SessionManager(agent)
        session_id = manager.create_or_resume_session("ada", session_id)
        print(f"\nada: {question}")
        for event in manager.stream(session_id, question):
            if event.type is ma.EventType.TOOL_RESULT:
                print(f"  {event.data['name']} -> {event.data['content']}")
            elif event.type is ma.EventType.AGENT_RESPONSE:
                print(f"{model.partition('@')[0]}: {event.text}")
    return session_id


if __name__ == "__main__":
    if names := sys.argv[1:]:
        try:
            begun = ask(names[0], QUESTIONS[0], None)
            ask(names[-1], QUESTIONS[1], begun)  # it is sent all that was said and found before
        except ma.MiniAgentError as problem:
            sys.exit(str(problem))
    else:
        print(__doc__)
