"""What a model deliberates is shown while it comes, here and to who watches; it is no answer."""

from collections.abc import Iterator

from miniagent_redis import AgentConfig, EventType, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, Usage


class Thinker:
    """Plays a model that deliberates.

    In its place: OpenAIModel("gpt-…", reasoning={"summary": "auto"}),
    AnthropicModel("claude-…", thinking={"type": "enabled", "budget_tokens": 2000}), or
    GeminiModel("gemini-…", thinking_config={"include_thoughts": True}).
    """

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        for thought in ("17 is odd. ", "Neither 3 nor 5 divides it, ", "and 5 * 5 is more."):
            yield ReasoningDelta(thought)
        yield TextDelta("It is ")
        yield TextDelta("prime.")
        yield Usage(input_tokens=12, output_tokens=40, reasoning_tokens=36)
        yield Finish()


def main() -> None:
    config = AgentConfig(model=Thinker(), delta_interval=0)
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        print("thoughts: ", end="")
        for event in manager.stream(session_id, "Is 17 prime?", turn_id="first"):
            if event.type is EventType.REASONING_DELTA:
                print(event.text, end="", flush=True)
            elif event.type is EventType.AGENT_RESPONSE:
                print(f"\nanswer: {event.text}")
        again = manager.watch(session_id, turn_id="first")  # from any process
        told = [event.text for event in again if event.type is EventType.REASONING_DELTA]
        print(f"told once more: {''.join(told)}")
        answer = manager.get_history(session_id)[-1]
        assert answer["content"] == "It is prime."
        thought = answer["metadata"]["usage"]["reasoning_tokens"]
        print(f"{thought} tokens of it were thoughts")


if __name__ == "__main__":
    main()
