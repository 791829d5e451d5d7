"""The noun "pods": what Kubernetes runs containers in. Loaded with the first of them."""
