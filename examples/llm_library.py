"""Simon Willison's `llm` with all its plugins, as in: python llm_library.py MODEL MESSAGE.

In a package: [project.entry-points."miniagent_redis.models"] llm = "llm_library:LLMModel"
"""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

from miniagent_redis import AgentConfig, Message, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage


class LLMModel:
    """A model of `llm`, by its name there."""

    def __init__(self, name: str) -> None:
        import llm

        self.name = name
        self.model = llm.get_model(name)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        import llm

        known = self.model.Options.model_fields.keys() & request.params.keys()
        tools = [llm.Tool(tool.name, tool.description, tool.parameters) for tool in request.tools]
        response = self.model.prompt(
            messages=list(self.messages(request)),
            tools=tools if self.model.supports_tools else None,
            options={key: request.params[key] for key in known},
        )
        yield from (TextDelta(text) for text in response)
        for call in response.tool_calls():
            yield ToolCall(call.tool_call_id or "", call.name, call.arguments)
        used = response.usage()
        yield Usage(used.input or 0, used.output or 0)
        yield Finish()

    def messages(self, request: ModelRequest) -> Iterator[object]:
        from llm import parts

        system = [Message("system", request.system)] if request.system else []
        for one in (*system, *request.messages):
            found: list[object] = [parts.TextPart(one.text)] if one.text else []
            for call in one.tool_calls:
                found.append(parts.ToolCallPart(call.name, call.arguments, call.id))
            if one.role == "tool":
                found = [parts.ToolResultPart(one.name or "", one.text, one.tool_call_id)]
            yield parts.Message(one.role, found)


if __name__ == "__main__" and not (find_spec("llm") and sys.argv[2:]):
    print(__doc__)
elif __name__ == "__main__":
    config = AgentConfig(model=LLMModel(sys.argv[1]))
    with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
        manager = SessionManager(agent)
        print(manager.chat(manager.create_or_resume_session(), " ".join(sys.argv[2:])))
