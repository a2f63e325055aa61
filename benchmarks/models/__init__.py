"""Models with random weights at the sizes of real ones, for measurements of speed and memory."""
