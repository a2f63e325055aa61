"""Architectures that are left out by decision, though embedding models have them: what each is, what to take."""

from __future__ import annotations

BERTS = "take one on BERT, MPNet or ModernBERT, such as all-mpnet-base-v2, bge-base-en-v1.5 or gte-modernbert-base"
LEFT_OUT = {
    **dict.fromkeys(
        ("mt5", "t5", "umt5"),
        "is T5 (sentence-t5, gtr-t5, instructor), which is left out: for English " + BERTS + "; else multilingual-e5",
    ),
    **dict.fromkeys(("deberta", "deberta-v2"), "is DeBERTa, which is left out: " + BERTS),
    "electra": "is ELECTRA, which is left out: " + BERTS,
    "albert": "is ALBERT (paraphrase-albert-small-v2), which is left out: of small models take all-MiniLM-L6-v2",
}
