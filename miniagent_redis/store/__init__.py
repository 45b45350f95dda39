"""All that is kept in Redis, one file per noun, put together in manager.py."""
