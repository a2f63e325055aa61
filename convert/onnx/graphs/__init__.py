"""One architecture, one file, found by `model_type` of config.json.

Each file has ATTENTION ("full" or "causal"), build(builder, config, tensors, pooling), which adds the graph's nodes and
returns the name of the hidden states with what they are, ALL_ROWS (batch, tokens, dim) or ONE_ROW (batch, dim), the one
that the pooling needs, and smooth_pairs(config, tensors), what makes channels that linear layers read. One that takes
images has build_image(builder, config, tensors), too, which returns IMAGE_ROW or IMAGE_FEATURES, and may have
smooth_image_pairs(config, tensors).
"""
