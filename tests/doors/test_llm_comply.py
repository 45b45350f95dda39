"""llm-comply, a suite of others for the OpenAI-compatible servers of this world."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doors.conftest import KEY
from tests.support.waiting import LIMIT

pytest.importorskip("llm_comply")

PLACE = str(Path(sys.executable).parent)


@pytest.mark.parametrize(
    ("form", "cases"), [("open-responses", 13), ("openai-chat", 9)], ids=lambda value: str(value)
)
def test_all_cases_pass_but_that_of_models_that_reason(
    base_url: str, form: str, cases: int
) -> None:
    program = shutil.which("llm-comply", path=PLACE) or "llm-comply"
    run = [program, "-u", base_url, "-k", KEY, "-m", "demo", "--format", form, "--json"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=4 * LIMIT)
    found = json.loads(done.stdout)
    wrong = [one for one in found["results"] if one["status"] not in ("passed", "skipped")]
    assert wrong == []
    assert found["summary"]["total"] >= cases
    skipped = [one["name"] for one in found["results"] if one["status"] == "skipped"]
    assert skipped == ["Reasoning Summary"], "it asks models of certain names only"
