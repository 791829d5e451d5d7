"""Our own command line as the client of a build: frames over an upgraded connection (`corten.spec.build_frames`)."""
