"""The console: pages on which people talk, look at conversations, and end them."""
