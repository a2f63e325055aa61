"""A folder, whoever made it -> its spec and its files."""
