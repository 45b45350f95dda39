"""Models: what one is (base.py), how replies are put together (fold.py), and those built in."""

from ..models import ToolCall, Usage
from .awaited import AsyncModel, AsyncModelFunction
from .base import (
    Block,
    ContentPart,
    Finish,
    Model,
    ModelEvent,
    ModelRequest,
    OutputSpec,
    ReasoningDelta,
    TextDelta,
    ToolSpec,
    UnreadCall,
)
from .demo import DemoModel
from .fold import Answer, Reply, ask, fold
from .function import FunctionModel, ModelFunction
from .resolve import ENTRY_POINTS, resolve_model
from .scripted import ScriptedModel
from .text import (
    CountTokens,
    estimate_input,
    estimate_tokens,
    instruction_tokens,
    message_tokens,
    words,
)

__all__ = [
    "ENTRY_POINTS",
    "Answer",
    "AsyncModel",
    "AsyncModelFunction",
    "Block",
    "ContentPart",
    "CountTokens",
    "DemoModel",
    "Finish",
    "FunctionModel",
    "Model",
    "ModelEvent",
    "ModelFunction",
    "ModelRequest",
    "OutputSpec",
    "ReasoningDelta",
    "Reply",
    "ScriptedModel",
    "TextDelta",
    "ToolCall",
    "ToolSpec",
    "UnreadCall",
    "Usage",
    "ask",
    "estimate_input",
    "estimate_tokens",
    "fold",
    "instruction_tokens",
    "message_tokens",
    "resolve_model",
    "words",
]
