"""``python -m miniagent_redis``: the same as the command ``miniagent-redis``."""

from .cli import main

if __name__ == "__main__":
    main()
