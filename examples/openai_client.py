"""OpenAI's client on an agent of ours: two lines changed, and conversations are kept in Redis.

    miniagent-redis serve --model openai:gpt-5      # in another terminal
    python openai_client.py http://127.0.0.1:8081/v1

Without an address it starts a server with the demo model itself.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import openai
except ImportError:
    sys.exit(print("This needs OpenAI's client: pip install 'miniagent-redis[openai,serve]'"))

SERVE = [sys.executable, "-m", "miniagent_redis", "serve", "--port", "0"]


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server: the one that is named, or one that ends with this program."""
    if sys.argv[1:]:
        yield sys.argv[1]
        return
    with subprocess.Popen(SERVE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[0]
        process.terminate()


with server() as url:
    client = openai.OpenAI(base_url=url, api_key="none")
    model = client.models.list().data[0].id

    hello = client.responses.create(model=model, input="My name is Ada")
    print(hello.output_text)
    again = client.responses.create(
        model=model, input="What is my name?", previous_response_id=hello.id
    )
    print(again.output_text)

    conversation = client.conversations.create(metadata={"about": "sums"})
    begun = client.responses.create(
        model=model, input="What is 6 * 7?", conversation=conversation.id, background=True
    )
    # This program could end here. Any other one, at any instance, follows it by its id.
    for event in client.responses.retrieve(begun.id, stream=True):
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    print()
    for item in client.conversations.items.list(conversation.id, order="asc"):
        print(item.type, item.id[:12])
