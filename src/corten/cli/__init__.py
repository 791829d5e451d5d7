"""The `corten` command: one file per command under `commands`; flags to request, status to exit code.

Starting quickly is a feature: nothing here imports typing, argparse, dataclasses, logging or subprocess, only the
module of the command given is loaded, and a daemon is asked within 40 ms of the first instruction.
"""
