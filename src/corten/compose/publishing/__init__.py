"""A project as something that others can take: an OCI artifact.

artifact.py     its form, written and read
layers.py       the project's files, with what they name beside themselves
questions.py    what is refused, and what is asked before anything leaves this machine
sensitive.py    texts that look like secrets
"""
