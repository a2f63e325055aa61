"""One file for each framework: edge_embed as what the framework calls an embedding model."""
