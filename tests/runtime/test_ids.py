"""Ids are drawn some at a time: each is given to one caller of one process only."""

from __future__ import annotations

import os

import pytest

from miniagent_redis.runtime import ids
from miniagent_redis.runtime.ids import new_id


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Begin without any in stock; return of how many bytes each draw is."""
    sizes: list[int] = []
    draw = os.urandom

    def urandom(size: int) -> bytes:
        sizes.append(size)
        return draw(size)

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr(ids._stock, "ids", [])
    return sizes


def test_each_id_is_128_bits_that_nobody_else_has(draws: list[int]) -> None:
    found = [new_id() for _ in range(1000)]
    assert len(set(found)) == 1000
    assert {len(each) for each in found} == {32}
    assert 16 * 1000 <= sum(draws) < 16 * 1100
    assert len(draws) < 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_none_of_its_parents_ids() -> None:
    new_id()  # there are some in stock now
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(new_id() for _ in range(64)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    of_child = os.read(read, 64 * 32).decode()
    os.close(read)
    os.close(write)
    assert len(of_child) == 64 * 32
    assert not {new_id() for _ in range(64)} & {of_child[n : n + 32] for n in range(0, 2048, 32)}
