"""WiC: does pre-training help at all? A control with random weights, and the interval in which chance lies.

Printed with minilm on PyTorch, first 500 rows of each split of the official files; 247 of the test rows are True:

    minilm: accuracy 0.538 [0.496, 0.582]
      Fisher's discriminant ratio 3.225
    random:minilm: accuracy 0.544 [0.504, 0.588]
      Fisher's discriminant ratio 3.052
"""

import argparse

import lpft_keras
from lpft_keras.calibration import bootstrap_interval
from lpft_keras.evaluation import accuracy

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", help="holds wic/train.jsonl and wic/val.jsonl; without it TensorFlow Datasets is asked"
)
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=500, help="rows of each split")
args = parser.parse_args()

# "random:" is the same architecture with weights that nobody trained. Half of all rows are True, so a coin has 0.5.
for backbone in (args.backbone, f"random:{args.backbone}"):
    result = lpft_keras.run(
        "wic", "lp", backbone, args.data_dir, limit=args.limit, output_dir=f"runs/first_{args.limit}"
    )
    test = result.predictions["test"]
    found = bootstrap_interval(accuracy, test["logits"], test["labels"])
    print(f"{backbone}: accuracy {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
    print(f"  Fisher's discriminant ratio {result.metrics['test']['fisher_discriminant_ratio']:.3f}")
