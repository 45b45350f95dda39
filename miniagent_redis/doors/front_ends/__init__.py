"""Streams for chat pages: the AI SDK's UI messages, and AG-UI; as pure functions."""
