"""What is different in one turn: instructions, tools, parameters, and the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from attrs import evolve, frozen

from ..errors import InvalidInput
from ..llm import Model
from ..llm.output import in_words
from ..records.json import check_json
from ..tools import ToolRegistry, Tools
from .answer_form import AnswerForm
from .config import AgentConfig
from .instructions import Instructions, check_instructions, text_of
from .turn_context import TurnContext

OnClose = Literal["keep", "drop", "finish"]
"""What becomes of a turn whose reader leaves before its end."""
_ON_CLOSE = get_args(OnClose)


@frozen
class TurnOptions:
    """The options of one turn, checked. What is None is as the agent has it.

    They are not stored: a turn that another process finishes is finished without them.
    """

    instructions: Instructions | None = None
    tools: ToolRegistry | None = None
    params: Mapping[str, Any] | None = None
    form: AnswerForm | None = None
    on_close: OnClose = "keep"

    @classmethod
    def given(
        cls,
        usual: ToolRegistry,
        instructions: Instructions | None,
        tools: Tools | None,
        params: Mapping[str, Any] | None,
        output: Any,
        on_close: OnClose = "keep",
    ) -> TurnOptions:
        """Return what a caller gave; raises InvalidInput.

        ``usual`` are the agent's tools: those of the turn are run as they are.
        """
        if on_close not in _ON_CLOSE:
            raise InvalidInput(
                f'on_close must be "keep", "drop" or "finish", not {on_close!r:.100}',
                hint="it says what becomes of the turn when its reader leaves",
            )
        is_usual = instructions is None and tools is None and params is None and output is None
        if is_usual and on_close == "keep":
            return USUAL
        if instructions is not None:
            check_instructions(instructions, "instructions")
        return cls(
            instructions,
            None if tools is None else usual.others(tools),
            None if params is None else _checked(params),
            None if output is None else AnswerForm.of(output),
            on_close,
        )

    def params_with(self, usual: dict[str, Any]) -> dict[str, Any]:
        """Return the usual parameters with those of the turn, but none that is None."""
        if self.params is None:
            return usual
        params = {**usual, **self.params}
        return {name: value for name, value in params.items() if value is not None}


USUAL = TurnOptions()


def settings_of(
    config: AgentConfig, options: TurnOptions, turn: TurnContext, tools: ToolRegistry, model: Model
) -> AgentConfig:
    """Return the configuration with the text of this turn's instructions in it; may block."""
    given, what = config.system_prompt, "system_prompt"
    if options.instructions is not None:
        given, what = options.instructions, "instructions"
    text = text_of(given, what, turn, tools)
    if options.form is not None and not getattr(model, "takes_output", False):
        text = "\n\n".join(filter(None, [text, in_words(options.form.spec)]))
    return config if text is config.system_prompt else evolve(config, system_prompt=text)


def _checked(params: object) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise InvalidInput(
            f"params must be a dict of the model's parameters, not {params!r:.100}",
            hint='such as {"temperature": 0.2, "max_tokens": 500}',
        )
    checked = dict(params)
    check_json(checked, "params")
    configured = {"temperature", "max_tokens"} & checked.keys()  # whose limits are the same
    AgentConfig(**{name: checked[name] for name in configured})
    return checked
