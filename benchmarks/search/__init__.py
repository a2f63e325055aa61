"""Search over files: what bits and codes lose, and what an index of many passages costs."""
