"""An engine without root and namespaces, and what it is made of. tests/contract holds each part to the real one."""
