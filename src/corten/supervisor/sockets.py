"""Where processes that outlive the daemon listen, and the versions of what is spoken there.

The daemon imports this, and not the modules that run in those processes.
"""

from __future__ import annotations

# In the directory of one container or sandbox, below the exec root.
SUPERVISOR = "supervisor.sock"
HOLDER = "holder.sock"

# In the exec root.
NAMES = "names.sock"
NAMES_VERSION = 2
FORWARDER = "forwarder.sock"
FORWARDER_VERSION = 1
