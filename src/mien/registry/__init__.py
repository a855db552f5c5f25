"""Models, versions, aliases, and an append-only history of what served when and why."""

from mien.registry.checks import CheckOutcome, check_candidate
from mien.registry.reference import Reference, parse_reference
from mien.registry.registry import Registry, open_registry
from mien.registry.versions import Alias, Event, Version

__all__ = [
    "Alias",
    "CheckOutcome",
    "Event",
    "Reference",
    "Registry",
    "Version",
    "check_candidate",
    "open_registry",
    "parse_reference",
]
