"""A long conversation with a model that takes little: the store keeps all, the model sees the end.

With a real model leave ``count_tokens`` out: an estimate is corrected by what the model reports.
"""

from collections.abc import Iterator

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta

WINDOW = 300  # tokens


def count_words(text: str) -> int:
    return len(text.split())


class Clerk:
    """A model that says how much it was sent."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        first = request.messages[0]
        assert first.role == "user", "never an answer without its question"
        yield TextDelta(f"I see {len(request.messages)} messages, the first: {first.text[:20]}")
        yield Finish()


def main() -> None:
    config = AgentConfig(
        model=Clerk(),
        system_prompt="You are a clerk.",
        max_context_tokens=WINDOW,
        count_tokens=count_words,
    )
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        for number in range(100):
            answer = manager.chat(session_id, f"Letter {number} came in: " + "please file it " * 3)
            if number in (0, 1, 2, 50, 99):
                print(f"{number:3}: {answer}")
        stored = manager.get_history(session_id)
        print(f"{len(stored)} messages are stored, from {stored[0]['content'][:8]!r} on")


if __name__ == "__main__":
    main()
