from __future__ import annotations

from fault_parts.fixtures import beside, daemon, healthy, standing

__all__ = ["beside", "daemon", "healthy", "standing"]
