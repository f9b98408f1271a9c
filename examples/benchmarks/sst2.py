"""SST-2: one seed ranks nothing. Three seeds, their spread, and a paired bootstrap of the difference.

Printed with minilm on PyTorch, two epochs, first 200 rows of each split of the official files:

    **minilm: accuracy (%)**

    | task | FT | LP-FT |
    | :-- | --: | --: |
    | sst2 | 75.67±1.53 | 78.17±2.75 |

    mean ± standard deviation over 3 seeds

    **minilm: difference in accuracy (%)**

    | task | rows | methods | difference | 95 % interval | seeds |
    | :-- | :-- | :-- | --: | --: | --: |
    | sst2 | test | LP-FT - FT | +2.50 | [-3.00, +7.34] | 3 |

    mean over the seeds that both have; interval: bootstrap of seeds and of rows, paired
"""

import argparse

import lpft_keras
from lpft_keras.report import as_markdown, difference_table, paired_differences, result_tables

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="holds sst2/train.tsv and sst2/dev.tsv; without it TensorFlow Datasets is asked")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=200, help="rows of each split")
args = parser.parse_args()

found = lpft_keras.sweep(
    "sst2",
    ["ft", "lp-ft"],
    seeds=[1001, 2002, 3003],
    backbones=args.backbone,
    data_dir=args.data_dir,
    limit=args.limit,
    epochs=2,
    output_dir=f"runs/first_{args.limit}",
)
# A resample draws seeds and rows, the same rows for both methods: an interval that holds 0 tells the two not apart.
differences = paired_differences(found.results, versus="ft")
print(as_markdown([*result_tables(found.results), difference_table(differences)]))
