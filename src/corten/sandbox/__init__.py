"""Namespaces that outlive any one process in them: one set for each container, or for all containers of a pod."""
