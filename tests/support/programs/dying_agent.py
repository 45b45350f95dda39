"""Chats once with an agent whose tool kills its process, as a segmentation fault does.

Arguments: URL, session, lease in seconds, ``on_busy``, whether the tool is idempotent ("yes"), the
message. "poison" makes the model call the tool, as often as it takes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from miniagent_redis import (
    AgentConfig,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import say

url, session_id, lease, on_busy, is_idempotent, text = sys.argv[1:]
tools = ToolRegistry()


@tools.tool(idempotent=is_idempotent == "yes")
def boom() -> str:
    """End the process."""
    os._exit(137)


class Caller:
    """Calls the tool if the last question is poison, and answers any other one."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        last = [message for message in request.messages if message.role == "user"][-1].text
        if last == "poison":
            yield from (ToolCall(f"call-{len(request.messages)}", "boom", {}), Finish("tool_calls"))
        else:
            yield from (TextDelta(f"answer to {last}"), Finish())


settings: dict[str, Any] = {"on_busy": on_busy}
redis = RedisConfig(url=url, lease_ttl=float(lease))
with SessionAgent(AgentConfig(model=Caller(), **settings), tools, redis_config=redis) as agent:
    say(answer=SessionManager(agent).chat(session_id, text))
