"""Tools: functions with a schema that a model may call, and how a call is run."""

from .builtin import calculator
from .call import call_tool, result_text
from .registry import Tool, ToolRegistry, Tools

__all__ = ["Tool", "ToolRegistry", "Tools", "calculator", "call_tool", "result_text"]
