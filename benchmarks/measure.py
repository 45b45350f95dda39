"""Timing things in turn, so that whatever slows the machine down meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import TypeVar

K = TypeVar("K")
Run = Callable[[], object]
Trial = Callable[[], Run]
"""Prepares one batch, untimed, and returns what is to be timed."""


def ready(run: Run) -> Trial:
    """Return a trial that needs no preparation."""
    return lambda: run


def alternate(trials: Mapping[K, Trial], batches: int) -> dict[K, list[float]]:
    """Time each trial ``batches`` times, one after the other; return the seconds of each batch.

    Every second time they go in reverse, and a first time is thrown away.
    """
    taken: dict[K, list[float]] = {name: [] for name in trials}
    for number in range(batches + 1):
        for name in list(trials) if number % 2 else list(reversed(list(trials))):
            run = trials[name]()
            start = perf_counter()
            run()
            taken[name].append(perf_counter() - start)
    return {name: times[1:] for name, times in taken.items()}


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Return the median of what the one took in relation to the other, batch by batch."""
    return median(a / b for a, b in zip(these, those, strict=True))


def difference(these: Sequence[float], those: Sequence[float]) -> float:
    """Return the median of what the one took longer than the other, batch by batch."""
    return median(a - b for a, b in zip(these, those, strict=True))
