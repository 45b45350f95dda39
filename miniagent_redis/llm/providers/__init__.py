"""What the models of several vendors have in common."""
