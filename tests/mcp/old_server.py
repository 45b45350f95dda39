"""An MCP server of 2025-06-18, by hand, without the SDK: it starts at once, and takes notes.

``python old_server.py NOTES``: a line for each start, call and cancellation goes to that file.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

NOTES = sys.argv[1]
FORM = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "enum": ["monday", "friday"]},
        "seats": {"type": "integer", "default": 2},
    },
    "required": ["day"],
}
SAFE, SURE = {"readOnlyHint": True}, {"idempotentHint": True, "destructiveHint": True}
TOOLS: dict[str, Any] = {
    "echo": {"annotations": SAFE},
    "wipe": {"annotations": SURE},
    "die": {},
    "die.once": {"annotations": SAFE},
    "ask": {},
    "ask_twice": {},
    "go_there": {},
    "slow": {},
    "more": {},
    "bad": {"inputSchema": {"type": "object", "properties": {"not a name": {}}}},
}


def note(what: str) -> None:
    with open(NOTES, "a", encoding="utf-8") as file:
        file.write(f"{what}\n")


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(said: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(said)}]}


def elicit(number: int, **params: Any) -> dict[str, Any]:
    send(id=f"question-{number}", method="elicitation/create", params=params)
    while True:
        heard = json.loads(sys.stdin.readline())
        if heard.get("id") == f"question-{number}":
            return dict(heard["result"])


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    note(f"call {name} {json.dumps(arguments)}")
    match name:
        case "die":
            os._exit(1)
        case "die.once":
            with open(NOTES, encoding="utf-8") as file:
                if file.read().count("call die.once") == 1:
                    os._exit(1)
            return text("alive")
        case "ask":
            told = elicit(1, message="For which day?", requestedSchema=FORM)
            return text(json.dumps(told))
        case "ask_twice":
            first = elicit(1, message="For which day?", requestedSchema=FORM)
            second = elicit(
                2, message="Sure?", requestedSchema={"type": "object", "properties": {}}
            )
            return text([first.get("content"), second["action"]])
        case "go_there":
            there = {"mode": "url", "url": "https://pay.example/1", "elicitationId": "e1"}
            return text(elicit(1, message="Pay first.", **there)["action"])
        case "slow":
            return None
        case "more":
            TOOLS["extra"] = {}
            send(method="notifications/tools/list_changed")
    return text(arguments.get("text", "done"))


def answer(asked: dict[str, Any]) -> None:
    number, params = asked["id"], asked.get("params", {})
    match asked["method"]:
        case "initialize":
            capabilities = {"tools": {"listChanged": True}}
            about = {"name": "old", "version": "1"}
            send(
                id=number,
                result={
                    "protocolVersion": "2025-06-18",
                    "capabilities": capabilities,
                    "serverInfo": about,
                },
            )
        case "tools/list":
            schema = {"type": "object", "properties": {"text": {"type": "string"}}}
            tools = [{"name": name, "inputSchema": schema, **more} for name, more in TOOLS.items()]
            send(id=number, result={"tools": tools})
        case "tools/call":
            if (result := called(params["name"], params.get("arguments") or {})) is not None:
                send(id=number, result=result)
        case _:
            send(id=number, error={"code": -32601, "message": "Method not found"})


def main() -> None:
    note(f"start {os.getpid()}")
    for line in sys.stdin:
        heard = json.loads(line)
        if heard.get("method") == "notifications/cancelled":
            note("cancelled")
        elif "id" in heard and "method" in heard:
            answer(heard)


if __name__ == "__main__":
    main()
