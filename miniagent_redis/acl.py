"""The least rights that a user of Redis needs, by their short name: see store/acl."""

from .store.acl import acl_rule

__all__ = ["acl_rule"]
