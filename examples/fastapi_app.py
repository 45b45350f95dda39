"""FastAPI: answers stream, outlive readers, and are resumed. Start it: uvicorn fastapi_app:app."""

import json
import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from miniagent_redis import aio

try:
    from fastapi import Body, FastAPI, Header, responses
except ImportError:
    sys.exit(print("This needs FastAPI: pip install fastapi uvicorn"))

STATUS = {"SessionNotFound": 404, "SessionBusy": 409, "InvalidInput": 422, "RateLimited": 429}
User = Annotated[str, Header(alias="X-User")]  # whoever it is: look at a token here


@asynccontextmanager
async def lifespan(app):
    config = aio.AgentConfig(model=os.environ.get("MINIAGENT_MODEL", "demo"))
    async with aio.SessionAgent(config, redis_config=aio.RedisConfig.from_env()) as agent:
        app.state.chats = aio.SessionManager(agent)
        yield


app = FastAPI(lifespan=lifespan)
sse = partial(responses.StreamingResponse, media_type="text/event-stream")


@app.exception_handler(aio.MiniAgentError)
async def refuse(request, error):
    name = type(error).__name__
    return responses.JSONResponse({"detail": name}, STATUS.get(name, 503))


async def told(chat, turn, after, user):
    # Starlette ends this when the reader goes away; the turn goes on, and is stored.
    async for event in app.state.chats.watch(chat, after, user_id=user, turn_id=turn):
        data = json.dumps({"turn": turn, "text": event.text})
        yield f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n"


@app.post("/chats/{chat}")
async def say(chat: str, text: Annotated[str, Body()], user: User):
    await app.state.chats.create_or_resume_session(user, chat)
    turn, after = await app.state.chats.start(chat, text, user_id=user)
    return sse(told(chat, turn, after, user))


@app.get("/chats/{chat}/{turn}")
async def go_on(chat: str, turn: str, user: User, last_event_id: str = Header(None)):
    if (await app.state.chats.turn(chat, turn, user)).state == "unknown":
        raise aio.SessionNotFound(chat)
    return sse(told(chat, turn, last_event_id, user))
