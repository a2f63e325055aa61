"""What graphs call their inputs and outputs: those that our converter writes, and other people's that we take."""

from __future__ import annotations

HIDDEN = ("last_hidden_state", "token_embeddings")  # (batch, tokens, dim)
POOLED = ("sentence_embedding", "pooled_hidden_state")  # (batch, dim)
ALL_ROWS, ONE_ROW = HIDDEN[0], POOLED[1]  # ours: of every token, or of the one that the pooling takes
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")  # (batch, tokens)
FLAGS = TEXT_INPUTS[1:3]  # of which every value is 0 or 1
# Rows of an image among the tokens (rows, dim), and where they go (rows, 2): line of the batch, column.
IMAGE_ROWS, IMAGE_POSITIONS = "image_rows", "image_places"
PIXELS = "pixel_values"  # (batch, 3, height, width)
EMBEDDINGS = ("image_embeds", "image_embeddings")  # (batch, dim)
IMAGE_ROW = EMBEDDINGS[0]  # ours, as transformers names a CLIP tower's output
# Rows for a language model (tiles, patches, dim), and the one that ends a line of patches (dim,).
FEATURES, NEWLINE = "image_features", "image_newline"
