"""Dynasent: sentences that were chosen to fool models. The temperature that suits Amazon does not suit them.

Printed with minilm on PyTorch, first 150 rows of each split, two epochs. Amazon's rows are a stand-in, other
Amazon reviews by BOSS's label rule; Dynasent's are the first of its round 1:

    test: temperature 1.17 from home, 1.25 would suit it best
      before ECE 0.119, NLL 0.708, confidence - accuracy +0.024
      after  ECE 0.110, NLL 0.699, confidence - accuracy -0.003
    dynasent: temperature 1.17 from home, 3.12 would suit it best
      before ECE 0.134, NLL 1.191, confidence - accuracy +0.091
      after  ECE 0.117, NLL 1.145, confidence - accuracy +0.065
"""

import argparse

import lpft_keras
from lpft_keras.calibration import TemperatureScaling, overconfidence
from lpft_keras.report import score_run

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", default="data", help="holds BOSS's files: amazon/train.tsv, sst5/test.tsv, ...")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=150, help="rows of each split")
args = parser.parse_args()

result = lpft_keras.run(
    "amazon", "ft", args.backbone, args.data_dir, limit=args.limit, epochs=2, output_dir=f"runs/first_{args.limit}"
)
for split in ("test", "dynasent"):
    scored = score_run(result, split=split)
    own = TemperatureScaling().fit(**result.predictions[split])  # needs labels that nobody has in use
    print(f"{split}: temperature {scored.temperature:.2f} from home, {own.temperature_:.2f} would suit it best")
    for when, measured in scored.measures().items():
        sure = overconfidence(getattr(scored, when), scored.labels)
        print(f"  {when:6} ECE {measured['ece']:.3f}, NLL {measured['nll']:.3f}, confidence - accuracy {sure:+.3f}")
