"""The options of a turn, as its request has them; they are kept with its message.

So whoever goes on with the turn of an instance that died does so with the client's functions and
instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...agent import USUAL, Instructions, TurnOptions
from ...errors import InvalidInput, MiniAgentError
from ...models import Message, ToolContext
from ...models.waiting import ANSWERED
from ...session import SessionAgent
from ...tools import ToolRegistry
from .answer_schema import answer_form
from .checks import Json, number_in, refuse
from .choice import PARAM, choice_of
from .echo import ECHO, SYSTEM


def keep_options(agents: Mapping[str, SessionAgent]) -> None:
    """Have turns that are gone on with done with the model and the options of their requests.

    ``agents`` are all models, by name: a session is of one agent, but any may answer in it.
    """
    for agent in agents.values():
        agent.turns.read_options(partial(_kept, agent))
        agent.turns.recovering.pass_on = partial(_pass_on, agents, agent)


def options_of(agent: SessionAgent, echo: Json) -> Json:
    """Return the options for which a request asks, as ``start`` takes them.

    Raises RequestRefused for functions that cannot be declared.
    """
    form = echo.get("text", {}).get("format") or {}
    params, choice = params_of(echo) or {}, choice_of(echo.get("tool_choice"))
    if (for_model := choice.for_model) is not None:
        params[PARAM] = for_model
    options: Json = {"params": params or None}
    options["output"] = answer_form(form, form, "text.format")
    given = "\n\n".join(filter(None, [echo.get("instructions"), *echo.get(SYSTEM, ())]))
    if given:
        options["instructions"] = _together(agent.config.system_prompt, given)
    tools = usual = agent.agent.tools
    if echo.get("tools") and choice.mode != "none":
        tools = _tools(usual, echo["tools"])
    tools = choice.tools(tools)
    if tools is not usual:
        options["tools"] = tools
    return options


def turn_options(agent: SessionAgent, echo: Json) -> TurnOptions:
    """Return them in the form in which turns are done."""
    nothing = dict.fromkeys(("instructions", "tools", "params", "output"))
    return TurnOptions.given(agent.agent.tools, **{**nothing, **options_of(agent, echo)})


def params_of(data: Json) -> Json | None:
    """Return the parameters for the model, None if there are none."""
    found: Json = {}
    if (temperature := number_in(data, "temperature", 0, 2)) is not None:
        found["temperature"] = temperature
    if (top_p := number_in(data, "top_p", 0, 1)) is not None and top_p != 1:
        found["top_p"] = top_p
    if (most := number_in(data, "max_output_tokens", 1, 10**9)) is not None:
        found["max_tokens"] = int(most)
    return found or None


def _pass_on(agents: Mapping[str, SessionAgent], agent: SessionAgent, session_id: str) -> bool:
    """Have the agent finish a turn whose model it is; return whether that is another one."""
    other = _agent_of(agents, agent, agent.store.parts.open_turns.look(session_id).staged)
    if other is not agent:
        other.resume_turn(session_id)
    return other is not agent


def agent_and_options(
    agents: Mapping[str, SessionAgent], usual: SessionAgent, staged: Sequence[Message]
) -> tuple[SessionAgent, TurnOptions]:
    """Return whose model a turn is, by what is kept with it, or the ``usual`` one; its options."""
    agent = _agent_of(agents, usual, staged)
    return agent, _kept(agent, staged)


def _agent_of(
    agents: Mapping[str, SessionAgent], usual: SessionAgent, staged: Sequence[Message]
) -> SessionAgent:
    model = staged[0].metadata.get(ECHO, {}).get("model") if staged else None
    return agents.get(str(model), usual)


def _kept(agent: SessionAgent, staged: Sequence[Message]) -> TurnOptions:
    """Return the options that are kept with a turn, those of its last leg; or the usual ones."""
    kept = staged[0].metadata.get(ECHO)
    for step in staged:
        kept = step.metadata.get(ANSWERED, {}).get(ECHO, kept)
    if not isinstance(kept, dict):
        return USUAL
    try:
        return turn_options(agent, kept)
    except MiniAgentError:  # the agent has other tools by now
        return USUAL


def _tools(usual: ToolRegistry, theirs: Sequence[Json]) -> ToolRegistry:
    tools = usual.copy()
    for place, tool in enumerate(theirs):
        name, param = tool["name"], f"tools[{place}]"
        if name in tools:
            problem = f"The agent has a tool '{name}' of its own: choose another name."
            refuse(problem, f"{param}.name", "invalid_value")
        try:
            tools.declare(name, tool["description"] or "", tool["parameters"])
        except InvalidInput as exc:
            refuse(f"{exc.problem}.", f"{param}.parameters", "invalid_function_parameters")
    return tools


def _together(usual: Instructions, given: str) -> Instructions:
    """Put a client's instructions behind those of the agent, which it cannot take away."""
    if isinstance(usual, str):
        return "\n\n".join(filter(None, [usual, given]))

    def both(context: ToolContext) -> Any:
        text = usual(context)
        return f"{text}\n\n{given}" if isinstance(text, str) else _later(text, given)

    return both


async def _later(text: Any, given: str) -> str:
    return f"{await text}\n\n{given}"
