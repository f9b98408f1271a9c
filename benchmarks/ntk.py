"""Time and memory of the exact kernel against other ways to compute it, each side a process of its own.

    python benchmarks/ntk.py                                        # MiniLM's size, one pinned core, all sides
    python benchmarks/ntk.py --lengths real --sides ours            # padded rows, of RTE's lengths
    python benchmarks/ntk.py --size small --sides ours neural-tangents --neural-tangents-python ENV/bin/python
    python benchmarks/ntk.py --size base --sides ours --cores 0 1   # RoBERTa-base, 250 + 250 rows
    python benchmarks/ntk.py --size base --rows 16 --device gpu     # all sides on 16 of them, on a GPU
    python benchmarks/ntk.py --sides kinds                          # of signs, and projected, against ours; PyTorch

Weights are random, ids as frequent as words are. `original` is the strategy of the paper's code: the Jacobian of all d
features of one example, by d backward passes for each block of parameters (of word embeddings, a tenth of them), and
its product with the head; it is timed on one example of `transformers`' model, of RoBERTa-base's size for every
eighth feature, and multiplied by their number.
`tutorial` is PyTorch's tutorial on NTKs: `vmap(jacrev)` of the logits by all parameters, then contraction. `jacrev` is
the same in JAX, compiled. `neural-tangents` needs an environment of its own (jax 0.4.30, tf2jax 0.3.6, tensorflow
2.17); its three ways are timed. All but the original are timed after one call that compiles; MB grown is the peak
while all this runs over what the process held before; of a GPU, what the framework's tensors take at most. There
float32 products are kept from being TensorFloat-32's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from gpu import describe, environment, peak_mb, set_precision
from random_roberta import SIZES, Size, token_rows, transformers_model

Side = Callable[[Size, str], tuple[Callable[[], object], float]]
"""Makes a function that computes the kernel once, and says by how much its time is to be multiplied."""


def ours(size: Size, lengths: str, kind: str = "sgd"):
    import keras_hub

    from lpft_keras.models.backbones import TextBackbone
    from lpft_keras.models.classifier import build_classifier
    from lpft_keras.ntk import empirical_ntk, projected_ntk, train_test_ntk

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
        return lambda: train_test_ntk(classifier, x, test, kind=kind, max_memory=size.max_memory), 1
    if kind == "projected":
        return lambda: projected_ntk(classifier, x, 4096, max_memory=size.max_memory).kernel(), 1
    return lambda: empirical_ntk(classifier, x, kind=kind, max_memory=size.max_memory), 1


def original(size: Size, lengths: str):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = transformers_model(size, "eager").to(device)
    x = token_rows(size, size.rows, lengths)
    ids, mask = (torch.from_numpy(x[name][:1]).long().to(device) for name in ("token_ids", "padding_mask"))
    head = torch.randn(size.width, size.classes, device=device)
    every = 8 if size.width > 400 else 1
    sample = torch.randperm(size.width)[: size.width // 10 : every]
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
            units = sample if name.endswith("word") else torch.arange(0, size.width, every)
            gradients = [torch.autograd.grad(features[h], parameters, retain_graph=True) for h in units]
            for k in range(len(parameters)):
                rows = head[units].T @ torch.stack([gradient[k].flatten() for gradient in gradients])
                kernel = kernel + rows @ rows.T
        return kernel.cpu()

    return once, size.rows * every


def tutorial(size: Size, lengths: str):
    import torch
    from torch.func import functional_call, jacrev, vmap

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = transformers_model(size, "eager").to(device)
    rows = token_rows(size, size.rows, lengths)
    x = {name: torch.from_numpy(array).long().to(device) for name, array in rows.items()}
    head = torch.randn(size.width, size.classes, device=device)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    positions = torch.arange(size.tokens, device=device)[None] + 2

    def logits(parameters, ids, mask):
        # Given whole, since `transformers` makes masks and positions by code that vmap can't follow.
        added = torch.where(mask > 0, 0.0, -1e9).expand(1, 1, size.tokens, size.tokens)
        arguments = {"input_ids": ids[None], "attention_mask": added, "position_ids": positions}
        return functional_call(model, parameters, kwargs=arguments).last_hidden_state[0, 0] @ head

    def once():
        jacobians = vmap(jacrev(logits), (None, 0, 0))(parameters, x["token_ids"], x["padding_mask"])
        return sum(torch.einsum("icp,jdp->icjd", j.flatten(2), j.flatten(2)) for j in jacobians.values()).cpu()

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
for _kind in ("sgd", "signgd", "asymmetric-signgd", "projected"):
    SIDES[f"kinds-{_kind}"] = ("torch", lambda size, lengths, kind=_kind: ours(size, lengths, kind))
for _way in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
    SIDES[f"neural-tangents-{_way}"] = ("jax", lambda size, lengths, way=_way: neural_tangents(size, lengths, way))


def memory(name: str) -> float:
    """Return a line of /proc/self/status in MB: VmRSS is what is held, VmHWM the peak."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(name: str, size: Size, options: argparse.Namespace) -> dict:
    backend, side = SIDES[name]
    set_precision(backend, "float32")
    once, factor = side(size, options.lengths)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = memory("VmRSS")
    if not (options.cold or name == "original"):
        once()
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    peak = memory("VmHWM")
    on_gpu = {"gpu_mb": peak_mb(backend)} if options.device == "gpu" else {}
    seconds = statistics.median(times) * factor
    return {"seconds": seconds, "times": times, "grown_mb": peak - before, "mb": peak, **on_gpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="minilm")
    parser.add_argument("--lengths", choices=["full", "real"], default="full")
    parser.add_argument("--sides", nargs="+", default=["original", "tutorial", "jacrev", "ours"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="time the first call, which compiles")
    parser.add_argument("--rows", type=int, help="take so many rows, and their kernel with themselves")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--cores", type=int, nargs="+", help="those to take; all for a GPU, else one")
    parser.add_argument("--neural-tangents-python", default=sys.executable)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = SIZES[options.size]
    if options.rows:
        size = replace(size, rows=options.rows, test_rows=0)
    if options.one:
        print(json.dumps(measure(options.one, size, options)))
    else:
        compare(size, options)


def compare(size: Size, options: argparse.Namespace) -> None:
    """Print the table."""
    cores = options.cores or (sorted(os.sched_getaffinity(0)) if options.device == "gpu" else [1])
    os.sched_setaffinity(0, cores)
    names = [
        name
        for wanted in options.sides
        for name in SIDES
        if name == wanted or name.startswith((f"{wanted}-", f"{wanted} "))
    ]
    gpu = options.device == "gpu"
    print(f"{options.size}, {options.lengths} length, cores {cores}: {size}{f', {describe()}' if gpu else ''}")
    print(f"| side | seconds | MB grown | MB in all | {'MB on the GPU | ' * gpu}times as fast as the first |")
    print(f"|---|---:|---:|---:|{'---:|' * gpu}---:|")
    first = None
    for name in names:
        python = options.neural_tangents_python if name.startswith("neural") else sys.executable
        repeats = 1 if name == "original" else options.repeats
        arguments = ["--one", name, "--repeats", str(repeats)]
        for kept in ("size", "lengths", "device", "rows"):
            if getattr(options, kept) is not None:
                arguments += [f"--{kept}", str(getattr(options, kept))]
        threads = str(len(cores))
        settings = {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [python, __file__, *arguments, *(["--cold"] if options.cold else [])],
            env={**os.environ, **environment(options.device), **settings, "KERAS_BACKEND": SIDES[name][0]},
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print(f"| {name} | failed |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["seconds"]
        row = [f"{found['seconds']:.2f}", f"{found['grown_mb']:.0f}", f"{found['mb']:.0f}"]
        row += [f"{found['gpu_mb']:.0f}"] if gpu else []
        print(f"| {name} | {' | '.join(row)} | {first / found['seconds']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
