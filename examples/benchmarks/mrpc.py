"""MRPC: F1 of the positive class depends on the threshold, which the validation rows may choose and the test rows not.

Printed with minilm on PyTorch, two epochs, first 300 rows of each split of the official files:

    lp: F1 0.817 at 0.5, 0.821 at 0.05, which the validation rows chose
    lp-ft: F1 0.814 at 0.5, 0.827 at 0.35, which the validation rows chose
    F1 of calling every pair equivalent: 0.821
"""

import argparse

import numpy as np
from sklearn.metrics import f1_score

import lpft_keras
from lpft_keras.calibration import TemperatureScaling

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="holds mrpc/train.tsv and mrpc/dev.tsv; without it TensorFlow Datasets is asked")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=300, help="rows of each split")
args = parser.parse_args()

thresholds = np.linspace(0.05, 0.95, 19)
for method in ("lp", "lp-ft"):
    result = lpft_keras.run(
        "mrpc", method, args.backbone, args.data_dir, limit=args.limit, epochs=2, output_dir=f"runs/first_{args.limit}"
    )
    validation, test = result.predictions["validation"], result.predictions["test"]
    scaling = TemperatureScaling().fit(validation["logits"], validation["labels"])
    seen, held = (scaling.predict_proba(rows["logits"])[:, 1] for rows in (validation, test))
    best = thresholds[np.argmax([f1_score(validation["labels"], seen > t, zero_division=0) for t in thresholds])]
    at_half, at_best = (f1_score(test["labels"], held > t, zero_division=0) for t in (0.5, best))
    print(f"{method}: F1 {at_half:.3f} at 0.5, {at_best:.3f} at {best:.2f}, which the validation rows chose")
print(f"F1 of calling every pair equivalent: {f1_score(test['labels'], np.ones_like(test['labels'])):.3f}")
