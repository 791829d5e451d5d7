"""What is to be done, as a graph of operations each of which has its cause; pure functions of a project and of what the
engine has.

    graph = up(project, observed, Asked())
    print(graph)                                a line for each step: number, operation, what it is behind, cause

An operation names a container by its id when it is there, and by the name that it will have when the plan makes it.
"""
