"""What runs in guests that are measured."""
