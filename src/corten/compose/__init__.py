"""Compose files: several YAML files and an environment become one typed project; the project becomes calls of a client.

    model/      the project as values: what a loaded file says, defaults and long forms in place
    document/   YAML text to trees of plain values with positions
    variables/  interpolation, files of variables
    loader/     trees to one tree to a project: interpolation, extends, merge, include, checks, defaults, profiles
    output/     a project as `config` prints it, and its hash

The rules are the Compose specification's; where it is silent, what Docker Compose 2.40 does. Imports `client` and
`spec`, never the engine: it works with any engine at DOCKER_HOST.
"""
