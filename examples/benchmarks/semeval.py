"""SemEval: how far features move on rows like those trained on, and on posts that training never saw.

PRINTED
"""

import argparse

import lpft_keras
from lpft_keras.report import represent

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", default="data", help="BOSS's files: amazon/train.tsv, .../test.tsv, semeval/test.tsv, ..."
)
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=200, help="rows of each split")
args = parser.parse_args()

for method in ("ft", "lp-ft"):
    result = lpft_keras.run(
        "amazon",
        method,
        args.backbone,
        args.data_dir,
        limit=args.limit,
        epochs=2,
        output_dir=f"runs/first_{args.limit}",
    )
    for split in ("test", "semeval"):
        # CKA forgives what the distance does not: features that were only turned and scaled have 1.
        moved, accuracy = represent(result, split), result.metrics[split]["accuracy"]
        distance, alike = moved.feature_change, moved.linear_cka
        print(f"{method:5} {split:7} features moved {distance:.3f}, CKA {alike:.3f}, accuracy {accuracy:.3f}")
