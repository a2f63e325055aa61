"""The model over HTTP, in the shapes that clients already speak."""
