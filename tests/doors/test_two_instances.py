"""One of two instances is killed while ten clients stream: each stream ends whole on the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.doors.conftest import KEY, Serve
from tests.doors.test_openai_client import WEATHER
from tests.support.waiting import LIMIT, until

pytest.importorskip("flask")
openai = pytest.importorskip("openai")

CLIENTS = 10
SLOW = "".join(f"w{number} " for number in range(40))


def test_ten_streams_end_whole_on_the_other_instance_when_one_is_killed(
    serve: Serve, tmp_path: Path
) -> None:
    one, other = serve(2)
    all_stream, may_go_on = Barrier(CLIENTS + 1), tmp_path / "go"

    def stream(_: int) -> list[Any]:
        seen: list[Any] = []
        with openai.OpenAI(base_url=one.url, api_key=KEY, max_retries=0) as client:
            try:
                asked = client.responses.create(model="held", input=str(may_go_on), stream=True)
                for event in asked:
                    seen.append(event)
                    if len(seen) == 8:
                        all_stream.wait(LIMIT)
            except Exception as exc:
                if not isinstance(exc, openai.APIError) and "httpx" not in type(exc).__module__:
                    raise
        response_id, last = seen[0].response.id, seen[-1].sequence_number
        assert seen[-1].type != "response.completed", "it was killed in the middle"
        with openai.OpenAI(base_url=other.url, api_key=KEY) as client:
            rest = client.responses.retrieve(response_id, stream=True, starting_after=last)
            seen.extend(rest)
            assert client.responses.retrieve(response_id).output_text == SLOW
        return seen

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(stream, number) for number in range(CLIENTS)]
        all_stream.wait(LIMIT)
        one.process.kill()
        may_go_on.touch()
        streams = [each.result(3 * LIMIT) for each in running]
    for seen in streams:
        numbers = [event.sequence_number for event in seen]
        assert numbers == sorted(set(numbers)), "nothing comes twice"
        deltas = [each.delta for each in seen if each.type == "response.output_text.delta"]
        assert "".join(deltas) == SLOW, "and nothing is lost"
        assert seen[-1].type == "response.completed"
        assert seen[-1].response.output_text == SLOW


def test_a_turn_that_another_instance_finishes_has_its_model_functions_and_instructions(
    serve: Serve,
) -> None:
    one, other = serve(2)
    with openai.OpenAI(base_url=other.url, api_key=KEY) as client:
        client.models.list()  # it is at work too
        conversation = client.conversations.create().id  # of the model demo, if of any
        begun = client.with_options(base_url=one.url).responses.create(
            model="slow",
            input="go",
            instructions="Paris",
            tools=[WEATHER],
            background=True,
            conversation=conversation,
        )
        one.process.kill()
        until(lambda: client.responses.retrieve(begun.id).status != "in_progress")
        (call,) = client.responses.retrieve(begun.id).output
        assert (call.name, call.arguments) == ("get_weather", '{"city":"Paris"}')
