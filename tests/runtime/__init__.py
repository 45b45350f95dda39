"""Tests of what every module stands on: interrupts, forks, threads, time."""
