"""What asyncio leaves to its users: threads that are not cancelled, keyed locks, tasks in the background, sources."""
