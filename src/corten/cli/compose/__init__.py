"""`corten compose`: its own flags, then one of its commands.

table.py      every command, one line each: add a line and a module below `commands`
command.py    what a command is
session.py    what it gets: the global flags, the project of the files, a client
entry.py      flags, table, command, exit code
"""
