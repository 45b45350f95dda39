"""How data is stored: JSON, its frame, messages, and the format that may be another one."""
