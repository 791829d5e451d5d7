"""The commands of `corten compose`, a module each."""
