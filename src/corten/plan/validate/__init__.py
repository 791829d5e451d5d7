"""A create or exec request checked in Docker's words; begin with `create`."""
