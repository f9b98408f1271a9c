"""Draw the README's picture from finished runs: accuracy in and out of distribution, and how far the features moved.

lpft-keras run demo --method all --seed 1001 --seed 2002 --seed 3003
python scripts/readme_picture.py runs/demo docs/demo.svg
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lpft_keras import RunResult
from lpft_keras.methods import METHODS

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#718096"


def moved(result: RunResult, frozen: RunResult, split: str) -> float:
    """Return how far a run's features lie from the pre-trained ones, relative to their norm."""
    pre = frozen.features[split]
    return float(np.mean(np.linalg.norm(result.features[split] - pre, axis=1) / np.linalg.norm(pre, axis=1)))


def main() -> None:
    """Read the runs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of one task's runs")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--backbone", default="pocket", help="folder name of the backbone")
    arguments = parser.parse_args()
    runs = {
        method: [RunResult.load(path) for path in sorted((arguments.runs / method / arguments.backbone).glob("seed_*"))]
        for method in METHODS
    }
    accuracy = {
        split: np.array([[run.metrics[split]["accuracy"] for run in group] for group in runs.values()])
        for split in ("test", "ood")
    }
    change = [np.mean([moved(run, runs["lp"][0], "test") for run in group]) for group in runs.values()]

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), width_ratios=(3, 2), layout="constrained")
    places = np.arange(len(METHODS))
    for offset, (split, name, colour) in enumerate((("test", "in distribution", BLUE), ("ood", "shifted", ORANGE))):
        values = accuracy[split]
        where = places + (offset - 0.5) * 0.38
        bars = left.bar(where, values.mean(1), 0.36, yerr=values.std(1), color=colour, label=name)
        left.bar_label(bars, fmt="%.2f", fontsize=9, padding=1)
    names = [method.title for method in METHODS.values()]
    left.set(xticks=places, xticklabels=names, ylabel="accuracy", ylim=(0.5, 1.08), title="Accuracy")
    left.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1, -0.32))
    bars = right.barh(places[::-1], change, 0.6, color=GREY)
    right.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
    right.set(yticks=places[::-1], yticklabels=names, title="How far the features moved", xlabel="relative change")
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.picture, metadata={"Date": None} if arguments.picture.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
