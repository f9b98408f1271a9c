"""Time and memory of the exact kernel against other ways to compute it, each side a process of its own.

    python benchmarks/ntk.py                                        # MiniLM's size, one pinned core, all sides
    python benchmarks/ntk.py --lengths real --sides ours            # padded rows, of RTE's lengths
    python benchmarks/ntk.py --size small --sides ours neural-tangents --neural-tangents-python ENV/bin/python
    python benchmarks/ntk.py --size base --sides ours --cores 0 1   # RoBERTa-base, 250 + 250 rows

Weights are random, ids as frequent as words are. `original` is the strategy of the paper's code: the Jacobian of all d
features of one example, by d backward passes for each block of parameters (of word embeddings, a tenth of them), and
its product with the head; it is timed on one example of `transformers`' model and multiplied by their number.
`tutorial` is PyTorch's tutorial on NTKs: `vmap(jacrev)` of the logits by all parameters, then contraction. `jacrev` is
the same in JAX, compiled. `neural-tangents` needs an environment of its own (jax 0.4.30, tf2jax 0.3.6, tensorflow
2.17); its three ways are timed. All but the original are timed after one call that compiles; MB grown is the peak
while all this runs over what the process held before.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    """Of a RoBERTa, of its rows, and how many logits there are."""

    layers: int
    width: int
    inner: int
    heads: int
    words: int
    rows: int
    test_rows: int = 0
    tokens: int = 128
    classes: int = 2


SIZES = {
    "small": Size(4, 128, 512, 4, 5000, rows=32, tokens=64),
    "minilm": Size(6, 384, 1536, 12, 30522, rows=16),
    "base": Size(12, 768, 3072, 12, 50265, rows=250, test_rows=250),
}


def token_rows(size: Size, rows: int, lengths: str) -> dict[str, np.ndarray]:
    """Return token arrays of full length, or of lengths like RTE's (66 of 128 on average)."""
    rng = np.random.default_rng(rows)
    ids = rng.zipf(1.2, (rows, size.tokens)) % (size.words - 10) + 5
    long = np.full(rows, size.tokens)
    real = long if lengths == "full" else rng.gamma(4, 66 / 4, rows).clip(16, size.tokens).astype(int)
    mask = np.arange(size.tokens) < real[:, None]
    return {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}


Side = Callable[[Size, str], tuple[Callable[[], object], float]]
"""Makes a function that computes the kernel once, and says by how much its time is to be multiplied."""


def ours(size: Size, lengths: str):
    import keras_hub

    from lpft_keras.models.backbones import TextBackbone
    from lpft_keras.models.classifier import build_classifier
    from lpft_keras.ntk import empirical_ntk, train_test_ntk

    model = keras_hub.models.RobertaBackbone(
        vocabulary_size=size.words,
        num_layers=size.layers,
        num_heads=size.heads,
        hidden_dim=size.width,
        intermediate_dim=size.inner,
        max_sequence_length=size.tokens,
    )
    classifier = build_classifier(TextBackbone("", model, None, "first", {}), size.classes)
    x = token_rows(size, size.rows, lengths)
    if size.test_rows:
        test = token_rows(size, size.test_rows + 1, lengths)
        test = {name: array[1:] for name, array in test.items()}
        return lambda: train_test_ntk(classifier, x, test, show_progress=True), 1
    return lambda: empirical_ntk(classifier, x), 1


def _transformers_model(size: Size):
    import transformers

    config = transformers.RobertaConfig(
        vocab_size=size.words,
        max_position_embeddings=size.tokens + 2,
        num_hidden_layers=size.layers,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_attention_heads=size.heads,
        attn_implementation="eager",
    )
    return transformers.RobertaModel(config, add_pooling_layer=False).eval()


def original(size: Size, lengths: str):
    import torch

    model = _transformers_model(size)
    x = token_rows(size, size.rows, lengths)
    ids, mask = (torch.from_numpy(x[name][:1]).long() for name in ("token_ids", "padding_mask"))
    head = torch.randn(size.width, size.classes)
    sample = torch.randperm(size.width)[: size.width // 10]
    blocks: dict[str, list] = {}
    for name, parameter in model.named_parameters():
        layer = ".".join(name.split(".")[:3]) if name.startswith("encoder") else "embeddings"
        part = ("attention" if "attention" in name else "rest") if name.startswith("encoder") else ""
        word = "word" if "word" in name else ""
        blocks.setdefault(f"{layer}/{part}{word}", []).append(parameter)

    def once():
        features = model(input_ids=ids, attention_mask=mask).last_hidden_state[0, 0]
        kernel = 0.0
        for name, parameters in blocks.items():
            units = sample if name.endswith("word") else torch.arange(size.width)
            gradients = [torch.autograd.grad(features[h], parameters, retain_graph=True) for h in units]
            for k in range(len(parameters)):
                rows = head[units].T @ torch.stack([gradient[k].flatten() for gradient in gradients])
                kernel = kernel + rows @ rows.T
        return kernel

    return once, size.rows


def tutorial(size: Size, lengths: str):
    import torch
    from torch.func import functional_call, jacrev, vmap

    model = _transformers_model(size)
    x = {name: torch.from_numpy(array).long() for name, array in token_rows(size, size.rows, lengths).items()}
    head = torch.randn(size.width, size.classes)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    positions = torch.arange(size.tokens)[None] + 2

    def logits(parameters, ids, mask):
        # Given whole, since `transformers` makes masks and positions by code that vmap can't follow.
        added = torch.where(mask > 0, 0.0, -1e9).expand(1, 1, size.tokens, size.tokens)
        arguments = {"input_ids": ids[None], "attention_mask": added, "position_ids": positions}
        return functional_call(model, parameters, kwargs=arguments).last_hidden_state[0, 0] @ head

    def once():
        jacobians = vmap(jacrev(logits), (None, 0, 0))(parameters, x["token_ids"], x["padding_mask"])
        return sum(torch.einsum("icp,jdp->icjd", j.flatten(2), j.flatten(2)) for j in jacobians.values())

    return once, 1


def _jax_encoder(size: Size):
    """Return random parameters and a function of them, ids [n, T] and mask, to logits [n, C]: RoBERTa in plain JAX."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    d, heads = size.width, size.heads

    def normal(*shape):
        return jnp.asarray(rng.normal(0, 0.02, shape), "float32")

    def norm():
        return {"gamma": jnp.ones(d), "beta": jnp.zeros(d)}

    def dense(a, b):
        return {"kernel": normal(a, b), "bias": jnp.zeros(b)}

    layers = [
        {name: dense(d, d) for name in ("query", "key", "value", "output")}
        | {"first": dense(d, size.inner), "second": dense(size.inner, d), "norm1": norm(), "norm2": norm()}
        for _ in range(size.layers)
    ]
    parameters = {"word": normal(size.words, d), "position": normal(size.tokens, d), "norm": norm(), "layers": layers}
    head = normal(d, size.classes)

    def apply(p, x):
        return x @ p["kernel"] + p["bias"]

    def normalized(p, x):
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * p["gamma"] + p["beta"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1)

    def logits(parameters, ids, mask):
        x = normalized(parameters["norm"], parameters["word"][ids] + parameters["position"][: ids.shape[1]])
        for p in parameters["layers"]:
            query, key, value = (split(apply(p[name], x)) for name in ("query", "key", "value"))
            scores = jnp.einsum("nqhe,nkhe->nhqk", query, key) / (d // heads) ** 0.5
            weights = jax.nn.softmax(jnp.where(mask[:, None, None] > 0, scores, -1e9), axis=-1)
            mixed = jnp.einsum("nhqk,nkhe->nqhe", weights, value).reshape(x.shape)
            x = normalized(p["norm1"], x + apply(p["output"], mixed))
            inner = jax.nn.gelu(apply(p["first"], x), approximate=False)
            x = normalized(p["norm2"], x + apply(p["second"], inner))
        return x[:, 0] @ head

    return parameters, logits


def jacrev(size: Size, lengths: str):
    import jax
    import jax.numpy as jnp

    parameters, logits = _jax_encoder(size)
    x = token_rows(size, size.rows, lengths)

    def one(ids, mask):
        return jax.jacrev(lambda p: logits(p, ids[None], mask[None])[0])(parameters)

    @jax.jit
    def kernel(ids, mask):
        flat = [j.reshape(*j.shape[:2], -1) for j in jax.tree_util.tree_leaves(jax.vmap(one)(ids, mask))]
        return sum(jnp.einsum("icp,jdp->icjd", j, j) for j in flat)

    return lambda: kernel(x["token_ids"], x["padding_mask"]).block_until_ready(), 1


def neural_tangents(size: Size, lengths: str, way: str):
    import jax
    import neural_tangents

    parameters, logits = _jax_encoder(size)
    x = token_rows(size, size.rows, lengths)
    both = np.stack([x["token_ids"], x["padding_mask"]], axis=-1)
    implementation = neural_tangents.NtkImplementation[way]
    kernel = jax.jit(
        neural_tangents.empirical_ntk_fn(
            lambda p, both: logits(p, both[..., 0], both[..., 1]),
            trace_axes=(),
            vmap_axes=0,
            implementation=implementation,
        )
    )
    return lambda: kernel(both, None, parameters).block_until_ready(), 1


SIDES: dict[str, tuple[str, Side]] = {
    "original": ("torch", original),
    "tutorial": ("torch", tutorial),
    "jacrev": ("jax", jacrev),
    "ours-torch": ("torch", ours),
    "ours-tensorflow": ("tensorflow", ours),
    "ours-jax": ("jax", ours),
}
for _way in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
    SIDES[f"neural-tangents-{_way}"] = ("jax", lambda size, lengths, way=_way: neural_tangents(size, lengths, way))


def memory(name: str) -> float:
    """Return a line of /proc/self/status in MB: VmRSS is what is held, VmHWM the peak."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(side: Side, size: Size, lengths: str, repeats: int, warm: bool) -> dict:
    once, factor = side(size, lengths)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = memory("VmRSS")
    if warm:
        once()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    peak = memory("VmHWM")
    return {"seconds": statistics.median(times) * factor, "times": times, "grown_mb": peak - before, "mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="minilm")
    parser.add_argument("--lengths", choices=["full", "real"], default="full")
    parser.add_argument("--sides", nargs="+", default=["original", "tutorial", "jacrev", "ours"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="time the first call, which compiles")
    parser.add_argument("--cores", type=int, nargs="+", default=[1])
    parser.add_argument("--neural-tangents-python", default=sys.executable)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    size = SIZES[parsed.size]
    if parsed.one:
        warm = not (parsed.cold or parsed.one == "original")
        print(json.dumps(measure(SIDES[parsed.one][1], size, parsed.lengths, parsed.repeats, warm)))
        return
    os.sched_setaffinity(0, parsed.cores)
    names = [
        name
        for wanted in parsed.sides
        for name in SIDES
        if name == wanted or name.startswith((f"{wanted}-", f"{wanted} "))
    ]
    print(f"{parsed.size}, {parsed.lengths} length, cores {parsed.cores}: {size}")
    print("| side | seconds | MB grown | MB in all | times as fast as the first |\n|---|---:|---:|---:|---:|")
    first = None
    for name in names:
        python = parsed.neural_tangents_python if name.startswith("neural") else sys.executable
        repeats = 1 if name == "original" else parsed.repeats
        arguments = ["--one", name, "--size", parsed.size, "--lengths", parsed.lengths, "--repeats", str(repeats)]
        threads = str(len(parsed.cores))
        settings = {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [python, __file__, *arguments, *(["--cold"] if parsed.cold else [])],
            env={**os.environ, **settings, "KERAS_BACKEND": SIDES[name][0]},
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print(f"| {name} | failed |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["seconds"]
        row = (
            f"{found['seconds']:.2f}",
            f"{found['grown_mb']:.0f}",
            f"{found['mb']:.0f}",
            f"{first / found['seconds']:.1f}",
        )
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
