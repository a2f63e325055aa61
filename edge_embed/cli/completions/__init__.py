"""Scripts that complete the command line, one file a shell: each has `script(commands)`."""
