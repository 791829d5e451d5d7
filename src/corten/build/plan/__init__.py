"""From a Dockerfile to what has to be done. Images are looked up meanwhile; nothing is done.

graph       what a build does, as nodes that need each other
planner     the stages that the target needs, side by side
stage       one stage, instruction by instruction
step_names  what its steps are called
remote      sources of an ADD that are addresses
variables   those that are the builder's own
targets     the platforms
"""
