"""RoBERTas with random weights, and rows for them: what is timed where no checkpoint or data set is at hand."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    """Of a RoBERTa, of its rows, how many logits there are, and bytes that a kernel may take."""

    layers: int
    width: int
    inner: int
    heads: int
    words: int
    rows: int
    test_rows: int = 0
    tokens: int = 128
    classes: int = 2
    max_memory: float = 8e9


SIZES = {
    "small": Size(4, 128, 512, 4, 5000, rows=32, tokens=64),
    "minilm": Size(6, 384, 1536, 12, 30522, rows=16),
    "base": Size(12, 768, 3072, 12, 50265, rows=250, test_rows=250, max_memory=16e9),  # all rows at once
}


def token_rows(size: Size, rows: int, lengths: str) -> dict[str, np.ndarray]:
    """Return token arrays of full length, or of lengths like RTE's (66 of 128 on average); ids as frequent as words."""
    rng = np.random.default_rng(rows)
    ids = rng.zipf(1.2, (rows, size.tokens)) % (size.words - 10) + 5
    long = np.full(rows, size.tokens)
    real = long if lengths == "full" else rng.gamma(4, 66 / 4, rows).clip(16, size.tokens).astype(int)
    mask = np.arange(size.tokens) < real[:, None]
    return {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}


def transformers_model(size: Size, attention: str = "sdpa", dropout: float = 0.0):
    """Return the encoder as `transformers` has it, weights drawn from PyTorch's generator."""
    import transformers

    config = transformers.RobertaConfig(
        vocab_size=size.words,
        max_position_embeddings=size.tokens + 2,
        num_hidden_layers=size.layers,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_attention_heads=size.heads,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation=attention,
    )
    return transformers.RobertaModel(config, add_pooling_layer=False).eval()
