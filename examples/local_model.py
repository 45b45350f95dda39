"""A model on a server of your own that speaks like OpenAI, thoughts shown as they come.

    python local_model.py http://localhost:11434/v1 qwen3:4b Hello!

llama.cpp listens on port 8080, vLLM on 8000, LM Studio on 1234, Ollama on 11434. No key is needed.
"""

import sys

from miniagent_redis import (
    AgentConfig,
    EventType,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.llm.openai import OpenAIModel


def ask(url: str, name: str, message: str) -> None:
    """Ask once and print what comes."""
    config = AgentConfig(
        model=OpenAIModel(name, base_url=url, seed=7),  # options of the server are passed on
        max_tokens=500,
        max_context_tokens=3000,  # what the server was started with, less the answer
        first_timeout=300,  # seconds: it may load the model first
    )
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        for event in manager.stream(session_id, message):
            if event.type is EventType.REASONING_DELTA:
                print(event.text, end="", file=sys.stderr, flush=True)
            elif event.type is EventType.TEXT_DELTA:
                print(event.text, end="", flush=True)
        print()


if __name__ == "__main__":
    if sys.argv[3:]:
        try:
            ask(sys.argv[1], sys.argv[2], " ".join(sys.argv[3:]))
        except MiniAgentError as problem:
            sys.exit(str(problem))
    else:
        print(__doc__)
