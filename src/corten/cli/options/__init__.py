"""The flags that `run` and `create` share, and the create request they amount to (API: POST /containers/create)."""
