"""The JSON schema of a function, and the check of what a model passes to it."""
