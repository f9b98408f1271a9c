"""Amazon: one model, trained on reviews of goods, tested there and on restaurants, posts and films.

PRINTED
"""

import argparse

import lpft_keras
from lpft_keras.report import as_markdown, result_tables

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", default="data", help="BOSS's files: amazon/train.tsv, .../test.tsv, dynasent/test.tsv, ..."
)
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=200, help="rows of each split")
args = parser.parse_args()

found = lpft_keras.sweep(
    "amazon",
    ["lp", "ft", "lp-ft"],
    backbones=args.backbone,
    data_dir=args.data_dir,
    limit=args.limit,
    epochs=2,
    output_dir=f"runs/first_{args.limit}",
)
print(as_markdown(result_tables(found.results)))
for result in found.results:
    home, *away = (result.metrics[name]["accuracy"] for name in ("test", "dynasent", "semeval", "sst5"))
    print(f"{result.summary['method']:5} loses {100 * (home - sum(away) / len(away)):.1f} points away from home")
