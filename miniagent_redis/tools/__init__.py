"""Tools: functions with a schema that a model may call, and how a call is run."""

from .builtin import calculator
from .call import call_tool
from .context import ToolContext
from .registry import ToolRegistry, Tools
from .results import result_text
from .tool import Tool

__all__ = [
    "Tool",
    "ToolContext",
    "ToolRegistry",
    "Tools",
    "calculator",
    "call_tool",
    "result_text",
]
