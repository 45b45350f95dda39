"""What happens in the background: one thread that runs small jobs at their time."""
