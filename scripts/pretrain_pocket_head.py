"""Train the masked-LM head of `pocket` anew, which was not kept when `pocket` was pre-trained; nothing else changes.

The text and its masks are those of `pretrain_pocket.py`, from seeds that it does not use. The encoder is frozen, so its
hidden states at the masks are computed once a document; the head (Dense, GELU, LayerNorm, and a bias a word; its rows
are those of the frozen word embedding) is trained on them by AdamW and written, in float16, beside the preset.

    python scripts/pretrain_pocket_head.py --preset lpft_keras/models/pocket

That took 208 seconds on one of two CPU cores shared with other work (Keras 3.15 on TensorFlow 2.21), and ended with
79.2 % of the masked tokens of held-out text guessed right: 85.0 % of the words; of the connectives, the relation in
85.5 %.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from pretrain_pocket import Text

from lpft_keras.models.backbones import load_backbone, sequence_output
from lpft_keras.models.masked_lm import FILE, MaskedLM, word_embedding, write_head


def states(backbone: keras.Model, text, seed: int, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden states at the masks of fresh documents, float32 [masks, d], and what is hidden there."""
    inputs, targets, weights = text.mask(text.draw(seed, documents, 40), np.random.default_rng(seed))
    hidden = sequence_output(
        backbone.predict({name: inputs[name] for name in ("token_ids", "padding_mask")}, batch_size=500, verbose=0)
    )
    real = weights > 0
    return np.take_along_axis(hidden, inputs["mask_positions"][..., None], axis=1)[real], targets[real]


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", type=Path, required=True, help="folder of the preset")
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=512, help="masks a step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    options = parser.parse_args()

    started = time.perf_counter()
    keras.utils.set_random_seed(0)
    backbone = load_backbone(str(options.preset), dropout=0.0)
    text = Text(backbone.model.vocabulary_size, 6, 0)
    assert text.tokenizer().vocabulary == backbone.preprocessor.tokenizer.vocabulary, "another vocabulary"
    table = keras.ops.convert_to_numpy(word_embedding(backbone.model))
    state = keras.Input((table.shape[1],))
    dense = keras.layers.Dense(table.shape[1], activation=keras.activations.gelu)
    norm = keras.layers.LayerNormalization(epsilon=1e-5)
    decoder = keras.layers.Dense(len(table))
    model = keras.Model(state, decoder(norm(dense(state))))
    decoder.kernel.assign(table.T)
    decoder._kernel.trainable = False
    seen, hidden = states(backbone.model, text, 500_000, options.documents)
    steps = options.epochs * -(-len(seen) // options.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), keras.losses.SparseCategoricalCrossentropy(True))
    history = model.fit(seen, hidden, options.batch_size, options.epochs, verbose=0).history
    assert np.array_equal(keras.ops.convert_to_numpy(decoder.kernel), table.T)

    weights = [keras.ops.convert_to_numpy(v) for v in (dense.kernel, dense.bias, norm.gamma, norm.beta, decoder.bias)]
    half = [weight.astype("float16") for weight in weights]
    head = MaskedLM(*half[:4], epsilon=1e-5, activation="gelu", output_bias=half[4])
    write_head(options.preset, head, "float16")
    for variable, value in zip((dense.kernel, dense.bias, norm.gamma, norm.beta, decoder.bias), half, strict=True):
        variable.assign(value.astype("float32"))
    unseen, targets = states(backbone.model, text, 2, 4000)
    guesses = model.predict(unseen, batch_size=4000, verbose=0).argmax(axis=1)
    relation = np.full(text.mask_id + 1, -1)
    relation[text.connectives] = text.relations
    connective = np.isin(targets, text.connectives)
    print(
        f"loss {history['loss'][-1]:.3f}; of held-out masked tokens {np.mean(guesses == targets):.1%} right, of words "
        f"{np.mean((guesses == targets)[~connective]):.1%}; of connectives the relation in "
        f"{np.mean((relation[guesses] == relation[targets])[connective]):.1%}; "
        f"{(options.preset / FILE).stat().st_size / 1e3:.0f} kB, {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
