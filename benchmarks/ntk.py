"""Time of the exact kernel against the strategy of the paper's code, on one pinned core.

MiniLM's size (6 layers, d 384, 30,522 words), random weights, 16 examples of 128 tokens, 2 classes. The original
strategy takes the Jacobian of all d features of one example by d backward passes for each block of parameters
(embeddings, attention and the rest of each layer) and contracts it with the head; it is timed on one example of
`transformers`' model and multiplied by their number. Each backend is a process of its own; ours is timed after one call
that compiles.

    python benchmarks/ntk.py [--backends torch tensorflow jax] [--repeats 3] [--core 1] [--lengths full|rte]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

LAYERS, WIDTH, INNER, HEADS, WORDS, TOKENS, ROWS, CLASSES = 6, 384, 1536, 12, 30522, 128, 16, 2


def rows(lengths: str) -> dict[str, np.ndarray]:
    """Return token arrays: ids as frequent as words are, full length or lengths like RTE's (66 on average)."""
    rng = np.random.default_rng(0)
    ids = rng.zipf(1.2, (ROWS, TOKENS)) % (WORDS - 10) + 5
    real = np.full(ROWS, TOKENS) if lengths == "full" else rng.gamma(4, 66 / 4, ROWS).clip(16, TOKENS).astype(int)
    return {"token_ids": ids.astype("int32"), "padding_mask": (np.arange(TOKENS) < real[:, None]).astype("int32")}


def ours(repeats: int, lengths: str) -> dict:
    """Time our kernel on the backend of this process."""
    import keras_hub

    from lpft_keras.models.backbones import TextBackbone
    from lpft_keras.models.classifier import build_classifier
    from lpft_keras.ntk import empirical_ntk

    model = keras_hub.models.RobertaBackbone(
        vocabulary_size=WORDS,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=INNER,
        max_sequence_length=TOKENS,
    )
    classifier = build_classifier(TextBackbone("", model, None, "first", {}), CLASSES)
    x = rows(lengths)
    before = peak()
    empirical_ntk(classifier, x)
    grown = peak() - before
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        empirical_ntk(classifier, x)
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "peak_mb": grown}


def original(repeats: int, lengths: str) -> dict:
    """Time the original strategy on one example, by blocks of parameters."""
    import torch
    import transformers

    sizes = {
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
    }
    config = transformers.RobertaConfig(vocab_size=WORDS, max_position_embeddings=TOKENS + 2, **sizes)
    model = transformers.RobertaModel(config, add_pooling_layer=False).eval()
    x = rows(lengths)
    ids, mask = (torch.from_numpy(x[name][:1]).long() for name in ("token_ids", "padding_mask"))
    head = torch.randn(WIDTH, CLASSES)
    blocks: dict[str, list] = {}
    for name, parameter in model.named_parameters():
        layer = ".".join(name.split(".")[:3]) if name.startswith("encoder") else "embeddings"
        part = ("attention" if "attention" in name else "rest") if name.startswith("encoder") else ""
        word = "word" if "word" in name else ""
        blocks.setdefault(f"{layer}/{part}{word}", []).append(parameter)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        features = model(input_ids=ids, attention_mask=mask).last_hidden_state[0, 0]
        for parameters in blocks.values():
            kernel = 0.0
            gradients = [torch.autograd.grad(features[h], parameters, retain_graph=True) for h in range(WIDTH)]
            for k in range(len(parameters)):
                # As the original does it: the whole Jacobian of a block, then its product with the head.
                jacobian = torch.stack([g[k].flatten() for g in gradients]) if parameters[k].numel() < 3e6 else None
                if jacobian is not None:
                    rows_ = head.T @ jacobian
                    kernel = kernel + rows_ @ rows_.T
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times) * ROWS, "peak_mb": peak()}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow", "jax"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--lengths", choices=["full", "rte"], default="full")
    parser.add_argument("--original-repeats", type=int, default=1)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    os.sched_setaffinity(0, {parsed.core})
    if parsed.side:
        found = (
            original(parsed.original_repeats, parsed.lengths)
            if parsed.side == "original"
            else ours(parsed.repeats, parsed.lengths)
        )
        print(json.dumps(found))
        return

    def side(name: str, backend: str) -> dict:
        command = [sys.executable, __file__, "--side", name, "--core", str(parsed.core), "--lengths", parsed.lengths]
        command += ["--repeats", str(parsed.repeats), "--original-repeats", str(parsed.original_repeats)]
        threads = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command,
            env={**os.environ, **threads, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    print("| backend | seconds | peak MB (ours: growth) | ratio to the original |\n|---|---:|---:|---:|")
    reference = side("original", "torch") if parsed.original_repeats else None
    if reference:
        print(
            f"| original (torch, one example x {ROWS}) | {reference['seconds']:.0f} | {reference['peak_mb']:.0f} | 1 |"
        )
    for backend in parsed.backends:
        found = side("ours", backend)
        ratio = f"{reference['seconds'] / found['seconds']:.0f}" if reference else "-"
        print(f"| {backend} | {found['seconds']:.2f} | {found['peak_mb']:.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
