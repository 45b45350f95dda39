"""What every module may stand on: time, threads, forks and the cancelling of what waits."""
