"""How fast texts and images are embedded, against other engines on the same machine in the same run."""
