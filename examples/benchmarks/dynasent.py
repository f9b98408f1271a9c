"""Dynasent: sentences written to fool a model trained on Amazon. The temperature of home is not that of the shifted set.

PRINTED
"""

import argparse

import lpft_keras
from lpft_keras.calibration import TemperatureScaling, overconfidence
from lpft_keras.report import score_run

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", default="data", help="BOSS's files: amazon/train.tsv, .../test.tsv, dynasent/test.tsv, ..."
)
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=200, help="rows of each split")
args = parser.parse_args()

result = lpft_keras.run(
    "amazon", "lp-ft", args.backbone, args.data_dir, limit=args.limit, epochs=2, output_dir=f"runs/first_{args.limit}"
)
for split in ("test", "dynasent"):
    scored = score_run(result, split=split)
    own = TemperatureScaling().fit(**result.predictions[split])  # what no one has at hand: labels of the shifted rows
    print(f"{split}: temperature {scored.temperature:.2f} from home, {own.temperature_:.2f} would suit it best")
    for when, measured in scored.measures().items():
        sure = overconfidence(getattr(scored, when), scored.labels)
        print(f"  {when:6} ECE {measured['ece']:.3f}, NLL {measured['nll']:.3f}, confidence - accuracy {sure:+.3f}")
