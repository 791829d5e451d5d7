"""What the end-to-end tests share: a real daemon, the clients, terminals, and the count of what is left over."""
