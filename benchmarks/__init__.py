"""How fast it is, next to redis-py alone: ``scripts/bench``, or ``python -m benchmarks``."""
