"""Frameworks for agents that speak to models of OpenAI, pointed at an agent of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.doors.conftest import KEY

WEATHER = "The tool get_weather says: sunny in Paris"
SUM = "6 * 7 = 42"


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def test_openai_agents(base_url: str) -> None:
    agents = pytest.importorskip("agents")
    openai = pytest.importorskip("openai")
    agents.set_tracing_disabled(True)

    async def talk() -> list[Any]:
        client = openai.AsyncOpenAI(base_url=base_url, api_key=KEY)
        model = agents.OpenAIResponsesModel("demo", client)
        able = agents.Agent("able", model=model, tools=[agents.function_tool(get_weather)])
        plain = agents.Agent("plain", model=model, instructions="Be brief.")
        run = agents.Runner.run
        first = await run(able, "How is it?")
        heard = [first.final_output]
        more = [*first.to_input_list(), {"role": "user", "content": "How many messages?"}]
        heard.append((await run(plain, more)).final_output)
        for agent, said in [(able, "How is it?"), (plain, "What is 6 * 7?")]:
            streamed = agents.Runner.run_streamed(agent, said)
            async for _ in streamed.stream_events():
                pass
            heard.append(streamed.final_output)
        named = await run(plain, "My name is Ada")
        asked = "What is my name?"
        behind = await run(plain, asked, previous_response_id=named.last_response_id)
        heard.append(behind.final_output)
        session = agents.OpenAIConversationsSession(openai_client=client)
        await run(plain, "My name is Zoe", session=session)
        heard.append((await run(plain, asked, session=session)).final_output)
        await client.close()
        return heard

    assert asyncio.run(talk()) == [
        WEATHER, "With yours there are 4 messages here.", WEATHER, SUM,
        "Your name is Ada.", "Your name is Zoe.",
    ]  # fmt: skip


@pytest.mark.parametrize("responses", [True, False], ids=["responses", "chat"])
def test_langchain(base_url: str, responses: bool) -> None:
    langchain = pytest.importorskip("langchain_openai")
    messages = pytest.importorskip("langchain_core.messages")
    tool = pytest.importorskip("langchain_core.tools").tool(get_weather)
    pydantic = pytest.importorskip("pydantic")
    model = langchain.ChatOpenAI(
        model="demo", base_url=base_url, api_key=KEY, use_responses_api=responses
    )
    assert model.invoke("My name is Ada").text == "Hello, Ada!"
    assert "".join(chunk.text for chunk in model.stream("What is 6 * 7?")) == SUM
    able = model.bind_tools([tool])
    history = [messages.HumanMessage("How is it?")]
    history.append(able.invoke(history))
    history += [tool.invoke(call) for call in history[-1].tool_calls]
    assert able.invoke(history).text == WEATHER
    person = pydantic.create_model("Person", name=(str, ...))
    assert model.with_structured_output(person).invoke("Hello").name.startswith("Hello!")


def test_langchain_goes_on_behind_a_response(base_url: str) -> None:
    langchain = pytest.importorskip("langchain_openai")
    messages = pytest.importorskip("langchain_core.messages")
    model = langchain.ChatOpenAI(
        model="demo", base_url=base_url, api_key=KEY, use_previous_response_id=True
    )
    said = messages.HumanMessage("My name is Eve")
    history = [said, model.invoke([said]), messages.HumanMessage("What is my name?")]
    assert model.invoke(history).text == "Your name is Eve."


@pytest.mark.parametrize("kind", ["OpenAIResponsesModel", "OpenAIChatModel"])
def test_pydantic_ai(base_url: str, kind: str) -> None:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    provider = providers.OpenAIProvider(base_url=base_url, api_key=KEY)
    model = getattr(models, kind)("demo", provider=provider)
    plain = pydantic_ai.Agent(model)
    able = pydantic_ai.Agent(model, tools=[get_weather])

    async def talk() -> list[str]:
        first = await plain.run("My name is Ada")
        asked = await plain.run("What is my name?", message_history=first.all_messages())
        summed = await plain.run("What is 6 * 7?")
        counted = await plain.run("How many messages?", message_history=summed.all_messages())
        heard = [asked.output, summed.output, counted.output, (await able.run("How?")).output]
        async with able.run_stream("How is it?") as stream:
            heard.append("".join([piece async for piece in stream.stream_text(delta=True)]))
        return heard

    assert asyncio.run(talk()) == [
        "Your name is Ada.", SUM, "With yours there are 3 messages here.", WEATHER, WEATHER,
    ]  # fmt: skip
