"""Static models: a vector for each token and their mean, by NumPy; model2vec's and sentence-transformers'."""

from __future__ import annotations

from edge_embed.backends.facts import Facts

FACTS = Facts(
    format="static",
    module="numpy",
    package="numpy",
    extra=None,
    floor="int8",
    runtime=45 << 20,
    converts=(),
)
