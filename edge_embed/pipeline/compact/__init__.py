"""A large vocabulary as tables that are mapped from the cache: nothing is parsed at start, and little memory taken.

`tokenizers` still normalises and cuts texts into words, adds special tokens, and does alone whatever asks for a token's
place in its text; here the words become pieces, with the same ids.
"""
