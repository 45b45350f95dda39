"""The server of our own: found or started, one per data folder and user."""
