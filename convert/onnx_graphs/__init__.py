"""One architecture, one file, found by `model_type` of config.json.

Each file has ATTENTION ("full" or "causal"), and build(builder, config, tensors), which adds the graph's nodes and
returns the name of the hidden states (batch, tokens, dim).
"""
