"""Tools that come with the library: a calculator that is safe to hand to a model."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable

from ..errors import ToolError

_MAX_LENGTH = 500  # characters
_MAX_BITS = 10_000  # of a whole number: some 3,000 digits
_ALLOWED = re.compile(r"[\d\s.+\-*/%()eE_]*", re.ASCII)

_SIGNS = str.maketrans({"^": "**", "\u00d7": "*", "\u00f7": "/", "\u2212": "-"})

Number = int | float
_OPERATORS: dict[type[ast.AST], Callable[[Number, Number], Number | complex]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def calculator(expression: str) -> int | float:
    """Work out an arithmetic expression, for example 12 * (3 + 4).

    Args:
        expression: numbers with + - * / // % ** and parentheses
    """
    text = expression.translate(_SIGNS).strip()
    if len(text) > _MAX_LENGTH:
        raise ToolError(f"the expression is longer than {_MAX_LENGTH} characters")
    if not _ALLOWED.fullmatch(text):
        raise _nonsense(expression)
    try:
        result = _value(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        raise ToolError(f"{text} divides by zero") from None
    except OverflowError:
        raise ToolError(f"the result of {text} is too large") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _nonsense(expression) from None
    return _tidy(result)


def _value(node: ast.AST) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _checked(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            first, second = _value(left), _value(right)
            if isinstance(sign, ast.Pow) and _is_huge_power(first, second):
                raise OverflowError  # told beforehand: 9**9**9 would not come back
            return _checked(_OPERATORS[type(sign)](first, second))
        case _:
            raise ValueError("not arithmetic")


def _is_huge_power(base: Number, exponent: Number) -> bool:
    if isinstance(base, float) or isinstance(exponent, float):
        return False  # Python says so itself, at once
    return abs(base) > 1 and base.bit_length() * abs(exponent) > _MAX_BITS


def _checked(number: Number | complex) -> Number:
    if isinstance(number, complex):
        raise ToolError("the result is not a real number")
    if isinstance(number, int):
        too_large = number.bit_length() > _MAX_BITS
    else:
        too_large = not math.isfinite(number)
    if too_large:
        raise OverflowError
    return number


def _tidy(number: Number) -> Number:
    """Drop what binary fractions add: 0.1 + 0.2 is 0.3, and 6 / 2 is 3."""
    if isinstance(number, int):
        return number
    rounded = float(f"{number:.15g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _nonsense(expression: str) -> ToolError:
    return ToolError(
        f"{expression!r:.200} is not arithmetic", hint="give something like 12 * (3 + 4)"
    )
