"""Search over one's own files and an agent's memory: SQLite holds the truth, packed bits find the candidates."""
