"""SemEval: how far features move on rows like those trained on, and on posts that training never saw.

Printed with minilm on PyTorch, first 150 rows of each split, two epochs. Amazon's rows are a stand-in, other
Amazon reviews by BOSS's label rule; SemEval's are real:

    ft    test    features moved 7.968, CKA 0.150, accuracy 0.693
    ft    semeval features moved 5.995, CKA 0.205, accuracy 0.467
    lp-ft test    features moved 0.826, CKA 0.962, accuracy 0.573
    lp-ft semeval features moved 0.796, CKA 0.993, accuracy 0.460
"""

import argparse

import lpft_keras
from lpft_keras.report import represent

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", default="data", help="holds BOSS's files: amazon/train.tsv, sst5/test.tsv, ...")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=150, help="rows of each split")
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
