"""Dockerfiles as typed values: pure, bounded, linear in their size (Docker's Dockerfile reference, BuildKit's words).

file = parse(data)                                  bytes to instructions with their lines
plan = stages.plan(file, target=..., arguments=...) what FROM names, which stages a target needs
step = expand(instruction, variables, file.escape)  one instruction with its variables in place
seen = checks.check(file, ...)                      what is allowed and better not written

instructions  one dataclass for each instruction      source     lines, directives, comments, heredocs
parse         lines to instructions                   flags      --flags by a table for each instruction
mounts        RUN --mount                             words      quotes and variables
expand        an instruction's variables              ignore     .dockerignore and --exclude
glob          names of COPY (Go's filepath.Match)     stages     names, targets, what needs what
ports         EXPOSE                                  history    what an image's history says of a step
checks        build checks                            errors     Invalid with lines, and how it is shown
"""
