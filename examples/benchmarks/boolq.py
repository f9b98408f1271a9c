"""BoolQ: passages are long. What `max_length` cuts off, what it costs, and what the rest is worth.

Printed with minilm on PyTorch, first 300 rows of each split; the training rows are those at hand, 1,911 of the
official 9,427:

    tokens of a training row: median 136, longest 568
    max_length  32: cuts 100% of the rows, accuracy 0.627, 21 s
    max_length  64: cuts  94% of the rows, accuracy 0.627, 41 s
    max_length 128: cuts  56% of the rows, accuracy 0.627, 82 s
    accuracy of always saying the commoner answer: 0.627
"""

import argparse

import numpy as np

import lpft_keras
from lpft_keras.models.backbones import load_backbone
from lpft_keras.overview import overview
from lpft_keras.tasks import get_task, load_task

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="holds boolq/train.jsonl and boolq/val.jsonl; without it TensorFlow Datasets")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=300, help="rows of each split")
args = parser.parse_args()

data = load_task(get_task("boolq"), args.data_dir, args.limit)
backbone = load_backbone(args.backbone)
looked = overview(data, backbone).splits["train"]
print(f"tokens of a training row: median {looked.median_length:.0f}, longest {looked.longest}")

for length in (32, 64, 128):
    cut = overview(data, backbone, max_length=length).splits["train"].truncated
    result = lpft_keras.run(
        "boolq",
        "lp",
        args.backbone,
        args.data_dir,
        max_length=length,
        limit=args.limit,
        output_dir=f"runs/{length}_tokens",
    )
    accuracy, seconds = result.metrics["test"]["accuracy"], result.summary["seconds"]
    print(f"max_length {length:3}: cuts {cut:4.0%} of the rows, accuracy {accuracy:.3f}, {seconds:.0f} s")
commoner = np.bincount(data.test.labels).max() / len(data.test)
print(f"accuracy of always saying the commoner answer: {commoner:.3f}")
