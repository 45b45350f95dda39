"""A bot that knows you again: run it twice with the same user id."""

import sys

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager


def main(user_id: str) -> None:
    config = AgentConfig(name="RememberingBot", system_prompt="You are friendly and brief.")
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        known = manager.list_sessions(user_id, limit=1)
        last = known[0]["session_id"] if known else None
        session_id = manager.create_or_resume_session(user_id, last)
        if not known:
            print(manager.chat(session_id, f"My name is {user_id}."))
        print(manager.chat(session_id, "What is my name?"))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Ada")
