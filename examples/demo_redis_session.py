"""The interactive demo: sessions that survive this program, in a menu of a few words.

    python demo_redis_session.py            # REDIS_URL, or a server of its own
    MINIAGENT_MODEL=openai:gpt-5 python demo_redis_session.py

Say your name, ``quit``, start it again, ``resume 1`` and ask for it.
"""

import os

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

USER = "demo"
HELP = """\
new           begin a session             history       what was said in this one
list          the sessions there are      clear         forget what was said in this one
resume 2      go on with the second       end           remove this one
help          these words                 quit          leave; sessions stay
Anything else is said to the agent."""


class Demo:
    """Who types, and the session that they are in."""

    def __init__(self, manager):
        self.manager = manager
        self.session_id = None
        self.listed = []

    def new(self):
        self.session_id = self.manager.create_or_resume_session(USER)
        print(f"Session {self.session_id[:8]} begins.")

    def list(self):
        self.listed = self.manager.list_sessions(USER)
        for number, one in enumerate(self.listed, 1):
            here = "*" if one["session_id"] == self.session_id else " "
            used, title = one["last_activity"][:16], one["title"] or "(nothing said yet)"
            print(f"{here}{number:3}  {used}  {one['message_count']:3} messages  {title}")

    def resume(self, number):
        if not 1 <= number <= len(self.listed):
            return print("There is no such session; `list` shows all.")
        self.session_id = self.listed[number - 1]["session_id"]
        print(f"Session {self.session_id[:8]} goes on.")
        self.history()

    def history(self):
        for message in self.manager.get_history(self.session_id):
            if message["role"] in ("user", "assistant") and message["content"]:
                print("you  >" if message["role"] == "user" else "agent>", message["content"])

    def clear(self):
        there_were = self.manager.clear_history(self.session_id)
        print("Forgotten." if there_were else "There was nothing to forget.")

    def end(self):
        self.manager.end_session(self.session_id)
        self.session_id = None
        print("Removed.")

    def say(self, text):
        print("agent> ", end="")
        for event in self.manager.stream(self.session_id, text):
            if event.type == "text_delta":
                print(event.text, end="", flush=True)
        print()

    def obey(self, line):
        word, _, rest = line.partition(" ")
        if line == "help":
            return print(HELP)
        if word == "resume" and rest.isdecimal():
            return self.resume(int(rest))
        if self.session_id is None and line not in ("new", "list"):
            self.new()
        if line in ("new", "list", "history", "clear", "end"):
            getattr(self, line)()
        else:
            self.say(line)


def main():
    config = AgentConfig(name="DemoBot", model=os.environ.get("MINIAGENT_MODEL", "demo"))
    with SessionAgent(config, redis_config=RedisConfig.from_env(session_ttl="30d")) as agent:
        demo = Demo(SessionManager(agent))
        print(HELP)
        demo.list()
        try:
            while (line := input("you  > ").strip()) != "quit":
                if line:
                    demo.obey(line)
        except (EOFError, KeyboardInterrupt):
            print()
        print("Your sessions are kept for 30 days: start this again, and `resume` one.")


if __name__ == "__main__":
    main()
