"""Images: names to configurations and trees; pulling, making, keeping and removing them."""
