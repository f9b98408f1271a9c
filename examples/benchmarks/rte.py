"""RTE: how sure a classifier is before and after one temperature, fitted on the validation rows.

Printed with minilm on PyTorch, three epochs, the first 500 training rows and all 277 test rows of the official files:

    lp: accuracy 0.563, temperature 5.07
      before ECE 0.048, MCE 0.777, NLL 0.695
      after  ECE 0.050, MCE 0.051, NLL 0.691
    lp-ft: accuracy 0.531, temperature 10.41
      before ECE 0.195, MCE 0.538, NLL 0.828
      after  ECE 0.036, MCE 0.060, NLL 0.689
"""

import argparse

import lpft_keras
from lpft_keras.report import score_run

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", help="holds rte/train.jsonl and rte/val.jsonl; without it TensorFlow Datasets is asked"
)
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=500, help="rows of each split")
args = parser.parse_args()

for method in ("lp", "lp-ft"):
    result = lpft_keras.run(
        "rte", method, args.backbone, args.data_dir, limit=args.limit, epochs=3, output_dir=f"runs/first_{args.limit}"
    )
    # Scaling changes no prediction, so accuracy stays; what changes is the probability that goes with it.
    scored = score_run(result, scaling="temperature")
    print(f"{method}: accuracy {result.metrics['test']['accuracy']:.3f}, temperature {scored.temperature:.2f}")
    for when, measured in scored.measures().items():
        print(f"  {when:6} ECE {measured['ece']:.3f}, MCE {measured['mce']:.3f}, NLL {measured['nll']:.3f}")
