"""One file an API: bytes -> what is asked for, and the answer -> bytes. None knows HTTP, a model or a thread."""
