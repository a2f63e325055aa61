"""`edge-embed serve` as a service of the system that starts it, watches it, and starts it again."""
