"""The work of steps: RUN in the engine's own runtime, COPY between trees, layers of both, images of layers."""
