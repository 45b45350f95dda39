"""The one way to Redis: connections, what their faults mean, and whether it is there."""
