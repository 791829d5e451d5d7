"""What our HTTP servers have in common below a request: taking connections, and bounding heads."""
