"""Pastes what the doctor advises into a shell, as a person does."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import redis


def paste(line: str, client: redis.Redis, **environment: str) -> None:
    """Run the line in a shell, where redis-cli must understand all of it.

    Where there is no redis-cli, its commands are sent by ``client``, which may do everything.
    """
    if shutil.which("redis-cli") is None:
        for command in line.split(" && "):
            words = shlex.split(command)
            start = next(at for at, word in enumerate(words) if word in ("CONFIG", "ACL", "EXPIRE"))
            client.execute_command(*words[start:])
        return
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    replies = done.stdout.split()
    assert done.returncode == 0, done
    assert len(replies) == line.count(" && ") + 1, done
    assert {*replies} <= {"OK", "1"}, done
