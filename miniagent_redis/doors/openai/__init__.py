"""The OpenAI-compatible door: stored events as its wire format, its requests as calls of ours."""
