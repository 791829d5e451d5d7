"""What the fault and isolation tests share: a real daemon whose processes can be killed, and what must not be left."""
