"""CoLA: seven of ten sentences are acceptable, so accuracy flatters; Matthews' correlation is 0 for who always says so.

Printed with minilm on PyTorch, two epochs, first 500 rows of each split of the official files:

    accuracy             macro_f1 matthews_correlation   best epoch by matthews_correlation
    lp                        0.698                0.441                0.051
    ft                        0.700                0.412                0.000
    lp-ft                     0.676                0.446               -0.008
    acceptable                0.700                0.412                0.000
"""

import argparse

import numpy as np

import lpft_keras
from lpft_keras.evaluation import METRICS
from lpft_keras.tasks import get_task

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="holds cola/train.tsv and cola/dev.tsv; without it TensorFlow Datasets is asked")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=500, help="rows of each split")
args = parser.parse_args()

shown = ("accuracy", "macro_f1", "matthews_correlation")
print(f"{'':10}", *(f"{name:>20}" for name in shown), f"  best epoch by {get_task('cola').metric}")
for method in ("lp", "ft", "lp-ft"):
    result = lpft_keras.run(
        "cola", method, args.backbone, args.data_dir, limit=args.limit, epochs=2, output_dir=f"runs/first_{args.limit}"
    )
    print(f"{method:10}", *(f"{result.metrics['test'][name]:20.3f}" for name in shown))

labels = result.predictions["test"]["labels"]
always = np.tile([0.0, 1.0], (len(labels), 1))  # logits of who finds every sentence acceptable
print(f"{'acceptable':10}", *(f"{METRICS[name](always, labels):20.3f}" for name in shown))
