"""Programs that tests start as processes: ``python -m tests.support.programs.NAME``."""
