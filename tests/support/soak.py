"""A long storm: for an hour, or as many seconds as the argument says, kill servers and clients.

``--topology`` says over what: a server behind a proxy that loses replies (``single``, or ``tls``),
a master that Sentinels watch (``sentinel``), or a ``cluster``, whose slots move (battered.py).
Each minute the history of that minute is judged and forgotten, so that it may go on for days.
Exit status: 0 if every promise held, 1 if not. MINIAGENT_TEST_SEED repeats a run's dice.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import get_args

from tests.support.battered import Kind
from tests.support.history import PROMISES
from tests.support.storm import Storm

HOUR = 3600.0
ROUND = 60.0
GAPS = (5.0, 40.0)  # seconds between two kills


def soak(storm: Storm, dice: random.Random, seconds: float) -> list[str]:
    """Storm for so long, telling of each round; return what broke a promise, in words."""
    began = time.monotonic()
    end = began + seconds
    next_kill = began + dice.uniform(*GAPS)
    totals: Counter[str] = Counter()
    longest = 0.0
    while (now := time.monotonic()) < end:
        round_end = min(now + ROUND, end)
        storm.begin()
        while (now := time.monotonic()) < round_end:
            storm.wait(seconds=max(0.0, min(next_kill, round_end) - now))
            if time.monotonic() >= next_kill:
                storm.kill(dice.choice(["server", "client"]))
                next_kill = time.monotonic() + dice.uniform(*GAPS)
        verdict = storm.settle()
        longest = max(longest, verdict.figures.pop("longest_stall"))
        totals.update({name: int(value) for name, value in verdict.figures.items()})
        figures = {
            "server_kills": storm.server_kills,
            "client_kills": storm.client_kills,
            "replies_lost": storm.replies_lost,
            **totals,
        }
        shown = "  ".join(f"{name} {value}" for name, value in figures.items())
        print(f"{now - began:7.0f} s  {shown}  longest_stall {longest:.3f}", flush=True)
        if verdict.findings or any(totals[promise] for promise in PROMISES):
            return verdict.findings
    return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("seconds", type=float, nargs="?", default=HOUR)
    parser.add_argument("--topology", choices=get_args(Kind), default="single")
    given = parser.parse_args()
    seconds: float = given.seconds
    seed = int(os.environ.get("MINIAGENT_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"seed {seed}: MINIAGENT_TEST_SEED={seed} repeats it; {seconds:g} s", flush=True)
    dice = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Storm(Path(folder), dice, given.topology) as storm,
    ):
        findings = soak(storm, dice, seconds)
    for finding in findings:
        print(finding)
    print("a promise was broken" if findings else "every promise held")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
