"""Records: what is stored, as bytes."""
