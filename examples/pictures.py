"""Pictures in all three places: in a question, from a tool, and as an answer."""

import base64
from collections.abc import Iterator

import miniagent_redis as ma
from miniagent_redis.llm import ContentPart, Finish, ModelEvent, ModelRequest, TextDelta

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
tools = ma.ToolRegistry()


@tools.tool
def chart(of: str) -> list[object]:
    """Draw a chart. Bytes of a picture are sent as one, and so is what notebooks show as one."""
    return [f"{of}, as a chart", PIXEL]


class Painter:
    """Plays a model that sees and draws; "gemini:…" and the like go in its place."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        seen = [part for each in request.messages for part in pictures(each.content)]
        if len(seen) < 2:
            yield ma.ToolCall("a", "chart", {"of": "the last week"})
        else:
            yield TextDelta(f"I have seen {len(seen)} pictures, and drew a third: ")
            yield ContentPart({**seen[0], "mime_type": "image/png"})
        yield Finish()


def pictures(content: object) -> list[dict[str, object]]:
    """Return the pictures of a content, which is text or a list of parts."""
    parts = content if isinstance(content, list) else []
    return [part for part in parts if part["type"] == "image"]


def main() -> None:
    config = ma.AgentConfig(model=Painter())
    with ma.SessionAgent(config, tools, redis_config=ma.RedisConfig.from_env()) as agent:
        manager = ma.SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        data = base64.b64encode(PIXEL).decode()
        photo = {"type": "image", "mime_type": "image/png", "data": data}
        question = ma.Message("user", [{"type": "text", "text": "What is this?"}, photo])
        print(manager.chat(session_id, question))
        for message in manager.get_history(session_id):
            print(f"  {message['role']}: {len(pictures(message['content']))} pictures")


if __name__ == "__main__":
    main()
