"""WSC: recognise a collapsed classifier. An accuracy of 0.635 is what saying "False" to every row has.

Printed with minilm on PyTorch, three epochs, all of the official files:

    lp: accuracy 0.635, of always saying the commoner class 0.635
      says False 104 times, True 0 times; Matthews +0.000
    ft: accuracy 0.635, of always saying the commoner class 0.635
      says False 104 times, True 0 times; Matthews +0.000
"""

import argparse

import numpy as np

import lpft_keras

parser = argparse.ArgumentParser()
parser.add_argument(
    "--data-dir", help="holds wsc/train.jsonl and wsc/val.jsonl; without it TensorFlow Datasets is asked"
)
parser.add_argument("--backbone", default="minilm")
args = parser.parse_args()

for method in ("lp", "ft"):
    result = lpft_keras.run("wsc", method, args.backbone, args.data_dir, epochs=3, output_dir="runs/three_epochs")
    test, metrics = result.predictions["test"], result.metrics["test"]
    guesses = np.bincount(test["logits"].argmax(axis=1), minlength=2)
    # Three signs: accuracy at the majority's share, nearly all guesses of one class, a Matthews correlation near 0.
    majority = np.bincount(test["labels"]).max() / len(test["labels"])
    print(f"{method}: accuracy {metrics['accuracy']:.3f}, of always saying the commoner class {majority:.3f}")
    print(f"  says False {guesses[0]} times, True {guesses[1]} times; Matthews {metrics['matthews_correlation']:+.3f}")
