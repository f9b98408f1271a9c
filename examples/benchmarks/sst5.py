"""SST-5 as a shifted test set of Amazon: the larger the head before fine-tuning, the less the features move (Figure 3).

Printed with minilm on PyTorch, first 150 rows of each split, two epochs. Amazon's rows are a stand-in, other
Amazon reviews by BOSS's label rule; SST-5's are real:

    ft    head x  0.1, norm   0.07: features moved 9.639, accuracy 0.593
    ft    head x    1, norm   0.68: features moved 7.884, accuracy 0.673
    ft    head x   10, norm   6.77: features moved 3.313, accuracy 0.647
    lp-ft head x  0.1, norm   2.06: features moved 3.854, accuracy 0.600
    lp-ft head x    1, norm  20.57: features moved 0.886, accuracy 0.540
    lp-ft head x   10, norm 205.71: features moved 0.700, accuracy 0.493
    rank correlation of norm and movement: {'ft': -1.0, 'lp-ft': -1.0}
"""

import argparse

import lpft_keras
from lpft_keras.report import head_norm_points, trends

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", default="data", help="holds BOSS's files: amazon/train.tsv, sst5/test.tsv, ...")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=150, help="rows of each split")
args = parser.parse_args()

found = lpft_keras.sweep(
    "amazon",
    ["ft", "lp-ft"],
    head_scales=[0.1, 1, 10],
    backbones=args.backbone,
    data_dir=args.data_dir,
    limit=args.limit,
    epochs=2,
    output_dir=f"runs/first_{args.limit}",
)
points = head_norm_points(found.results, split="sst5")
for point in points:
    print(f"{point.method:5} head x {point.scale:4g}, norm {point.start_head_norm:6.2f}:", end=" ")
    print(f"features moved {point.feature_change:.3f}, accuracy {point.accuracy:.3f}")
print("rank correlation of norm and movement:", {method: round(value, 2) for method, value in trends(points).items()})
