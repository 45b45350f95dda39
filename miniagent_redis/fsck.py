"""The check of what is stored, by its short name: see doctor/fsck."""

from .doctor.fsck import Finding, Kind, check

__all__ = ["Finding", "Kind", "check"]
