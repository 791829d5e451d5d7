from __future__ import annotations

from fault_parts.fixtures import daemon, standing

__all__ = ["daemon", "standing"]
