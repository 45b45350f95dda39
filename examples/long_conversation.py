"""A conversation without end: what leaves the window is summed up, and the thread is kept whole."""

import re

from miniagent_redis import AgentConfig, Message, RedisConfig, SessionAgent, SessionManager


def sum_up(messages: list[Message]) -> str:
    """Stand for a small model: keep the names. It is given what it remembers, and what is new."""
    names = re.findall(r"My \w+ is called \w+", str(messages[-1]))
    return ". ".join(dict.fromkeys(names)) + "."


def answer(messages: list[Message]) -> str:
    """Stand for a large model: say how much it is sent, and what it knows from long ago."""
    first = str(messages[0])
    known = re.findall(r"(\w+) is called (\w+)", first) if "in short" in first else []
    return f"({len(messages)} messages) I remember {dict(known)}."


def main() -> None:
    config = AgentConfig(model=answer, max_context_messages=20, summary_model=sum_up)
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        manager.chat(session_id, "My dog is called Rex.")
        manager.chat(session_id, "My cat is called Mia.")
        for number in range(40):
            manager.chat(session_id, f"This is remark number {number}.")
        print(manager.chat(session_id, "What are my pets called?"))
        history = manager.get_history(session_id)
        summaries = [one for one in history if one["role"] == "system"]
        print(f"{len(history)} messages are stored, {len(summaries)} of them are summaries")


if __name__ == "__main__":
    main()
