r"""CB: the five methods side by side, and what accuracy hides of a class of five test rows.

Printed with minilm on PyTorch, two epochs, all of the official files, one seed:

    **minilm: accuracy (%)**

    | task | LP | FT | LP-FT | LoRA | LP-LoRA |
    | :-- | --: | --: | --: | --: | --: |
    | cb | 71.43 | 67.86 | 67.86 | 67.86 | 69.64 |

    one seed each, so no standard deviation

    **minilm: macro\_f1 (%)**

    | task | LP | FT | LP-FT | LoRA | LP-LoRA |
    | :-- | --: | --: | --: | --: | --: |
    | cb | 49.92 | 47.39 | 47.45 | 47.45 | 48.58 |

    one seed each, so no standard deviation

    lp      says neutral of 0 rows
    ft      says neutral of 0 rows
    lp-ft   says neutral of 0 rows
    lora    says neutral of 0 rows
    lp-lora says neutral of 0 rows
"""

import argparse

import lpft_keras
from lpft_keras.report import as_markdown, result_tables

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="holds cb/train.jsonl and cb/val.jsonl; without it TensorFlow Datasets is asked")
parser.add_argument("--backbone", default="minilm")
args = parser.parse_args()

found = lpft_keras.sweep(
    "cb", "all", backbones=args.backbone, data_dir=args.data_dir, epochs=2, output_dir="runs/two_epochs"
)
print(as_markdown([*result_tables(found.results), *result_tables(found.results, metric="macro_f1")]))

# 5 of the 56 test rows are neutral: who never says so loses 9 points of accuracy at most, but a third of macro-F1.
neutral = lpft_keras.tasks.get_task("cb").labels.index("neutral")
for result in found.results:
    test = result.predictions["test"]
    print(f"{result.summary['method']:7} says neutral of {(test['logits'].argmax(axis=1) == neutral).sum()} rows")
