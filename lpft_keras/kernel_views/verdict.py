"""What the numbers of a kernel view come to: which of its tests a fine-tuning passed."""

from collections.abc import Mapping
from typing import Any

# As others quote Malladi et al. 2023; the paper's own text was not at hand.
GAIN, ACCURACY, CHANGE = 0.5, 0.9, 2.0
# Which kernels stand for which optimiser (Definitions 3.4, 4.2, 4.4).
ANALOGS = {
    "sgd": ("sgd",),
    "adam": ("asymmetric-signgd", "signgd"),
    "signgd": ("asymmetric-signgd", "signgd"),
}


def judged(report: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """Judge one fine-tuning by the three tests.

    Args:
        report: The numbers of a kernel view.
        optimizer: Which fine-tuning.

    Returns:
        For "linearization", "fixed_features" and "kernel" whether the test was passed (None where it can't be told, as
        where fine-tuning gained nothing or gradients are zero), and "holds": whether none was failed, beside a gain.
    """
    tuned = report["fine_tuning"][optimizer]
    share = report["linear"][optimizer]["gain_recovered"]
    gained = tuned["accuracy"] > report["start"]["accuracy"]
    # Of two kernels the one that is better on the validation rows, as their solvers are.
    best = max((report["kernels"][kind] for kind in ANALOGS[optimizer]), key=lambda one: one["validation_accuracy"])
    moved = report["fixed_features"][optimizer]["gradient"]
    tests = {
        "linearization": share >= GAIN if gained and share is not None else None,
        "fixed_features": None if moved is None else moved < CHANGE,
        "kernel": best["accuracy"] >= ACCURACY * tuned["accuracy"],
    }
    return {**tests, "holds": all(passed is not False for passed in tests.values()) and gained}


def in_words(verdict: Mapping[str, Any], report: Mapping[str, Any], optimizer: str) -> str:
    """Return the verdict as a sentence."""
    if report["fine_tuning"][optimizer]["accuracy"] <= report["start"]["accuracy"]:
        return "fine-tuning gained nothing on the test rows, so there is no gain that a kernel could explain"
    failed = [
        name.replace("_", " ") for name in ("linearization", "fixed_features", "kernel") if verdict[name] is False
    ]
    if not failed:
        return "the kernel view holds"
    passed = any(verdict[name] is True for name in ("linearization", "fixed_features", "kernel"))
    return f"the kernel view {'holds in part' if passed else 'does not hold'}: it fails by {', '.join(failed)}"
