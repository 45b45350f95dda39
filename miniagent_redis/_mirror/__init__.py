"""Blocking methods as async methods: the mechanism under aio.py, once for all of them.

pool.py has the threads, caller.py runs blocking code in them for an asyncio task, methods.py makes
async methods of it. What is mirrored is left to aio.py. The blocking code itself meets two
functions: ``raise_if_cancelled`` in loops that wait, ``run_coroutine`` where users hand in async
functions.
"""

from .caller import Caller, raise_if_cancelled, run_coroutine
from .methods import Threads, mirrors, mirrors_iterator, mirrors_task
from .pool import Pool

__all__ = [
    "Caller",
    "Pool",
    "Threads",
    "mirrors",
    "mirrors_iterator",
    "mirrors_task",
    "raise_if_cancelled",
    "run_coroutine",
]
