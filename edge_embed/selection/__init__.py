"""Which weights, threads and batches fit this machine."""
