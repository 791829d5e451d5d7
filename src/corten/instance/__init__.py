"""What a supervisor owns, as a protocol (`contract`): a container made by our runtime or by another OCI binary, later a
guest. Standard library only: it is part of every supervisor.
"""
