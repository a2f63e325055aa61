"""Files of texts, tables and images -> rows, and ranges of them that are read again alone."""
