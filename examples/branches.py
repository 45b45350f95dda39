"""A conversation that goes back: regenerate, edit and resend, and the tree of what was said."""

from typing import Any

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

CITIES = iter(["Rome", "Oslo", "Lima", "Cork"])


def guide(messages: list[dict[str, Any]]) -> str:
    """Play a model that says something else each time; "openai:…" and the like go in its place."""
    return f"{messages[-1]['content']} Go to {next(CITIES)}!"


def show(manager: SessionManager, session_id: str, depth: int = 0) -> None:
    """Print a session and its branches as a tree, each with the end of what was said."""
    last = manager.get_history(session_id, 1)[-1]["content"]
    print("  " * depth + last)
    for branch in manager.list_branches(session_id):
        show(manager, branch["session_id"], depth + 1)


def main() -> None:
    config = AgentConfig(model=guide)
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        first = manager.run(session_id, "Where is it warm?")
        manager.chat(session_id, "And cold?")

        again = manager.regenerate(session_id)
        assert again.branch  # what was there is a session of its own
        edited = manager.edit(session_id, first.turn_id, "Where is it green?")
        print("now:", edited.text)
        show(manager, session_id)

        for hit in manager.search("oslo", user_id="ada"):
            print("found:", hit["snippet"])
        manager.set_title(session_id, "Holidays")
        print("called:", sorted(each["title"] for each in manager.list_sessions("ada")))


if __name__ == "__main__":
    main()
