"""What package managers leave in a tree: their databases as typed values. Standard library only: a confined process
reads them (`corten.layers.inventory`)."""
