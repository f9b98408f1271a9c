"""The default linear probe against the paper's, on minilm's features of real tasks.

    python benchmarks/linear_probe.py --data-dir data [--task rte] [--rounds 3]

"original" is scikit-learn as the original code calls it: lbfgs, with as many BLAS threads as it likes. "paper" is the
same solver through our `linear_probe`, which allows one. All fit the same folds; ours write down the path of the head
as well. The gradient is that of the mean loss with its penalty, in the form that scikit-learn minimises; it tells how
far a solver stopped from the optimum.
"""

import argparse
import os
import statistics
import time

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from lpft_keras.hyperparameters import ProbeSettings
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.encoding import encode
from lpft_keras.representation import head_norm
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import Probe, linear_probe

SETTINGS = {"default": ProbeSettings(), "paper": ProbeSettings(solver="lbfgs")}


def original(features: np.ndarray, labels: np.ndarray) -> Probe:
    """Fit as the original code does."""
    folds = StratifiedKFold(5, shuffle=True, random_state=1001)
    search = LogisticRegressionCV(
        Cs=10, cv=folds, scoring="accuracy", l1_ratios=(0.0,), use_legacy_attributes=False, max_iter=5000
    ).fit(features, labels)
    rows, bias = search.coef_, search.intercept_
    if len(rows) == 1:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return Probe(rows.T, bias, float(search.C_), [])


def gradient_norm(probe: Probe, features: np.ndarray, labels: np.ndarray) -> float:
    """Return the max-norm of the gradient of mean loss + |w|^2 / (2 C rows); two classes have one row of weights."""
    kernel, bias = probe.kernel, probe.bias
    if kernel.shape[1] == 2:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
        error = expit(features @ kernel + bias) - labels[:, None]
    else:
        error = softmax(features @ kernel + bias, axis=1) - np.eye(kernel.shape[1])[labels]
    by_kernel = (features.T @ error + kernel / probe.inverse_strength) / len(labels)
    return float(max(np.abs(by_kernel).max(), np.abs(error.mean(axis=0)).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with the official files")
    parser.add_argument("--task", action="append")
    parser.add_argument("--pooling", default="mean")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds\n")
    print("| task | rows | solver | seconds | times as fast | gradient | C | head norm |")
    print("|---|---:|---|---:|---:|---:|---:|---:|", flush=True)
    backbone = load_backbone("minilm")
    for name in options.task or ["cb", "rte"]:
        task = get_task(name)
        train = load_task(task, options.data_dir).train
        classes = len(task.labels)
        classifier = build_classifier(backbone, classes, pooling=options.pooling)
        features = forward_function(classifier)(encode(backbone, train.texts))[0].astype(np.float64)
        fits = {
            **{
                solver: lambda settings=settings, x=features, y=train.labels, c=classes: linear_probe(
                    x, y, c, settings, seed=1001
                )
                for solver, settings in SETTINGS.items()
            },
            "original": lambda x=features, y=train.labels: original(x, y),
        }
        seconds: dict[str, list[float]] = {solver: [] for solver in fits}
        probes = {}
        for _ in range(options.rounds):
            for solver, fit in fits.items():
                start = time.perf_counter()
                probes[solver] = fit()
                seconds[solver].append(time.perf_counter() - start)
        for solver, probe in probes.items():
            pairs = zip(seconds["original"], seconds[solver], strict=True)
            ratio = statistics.median(plain / own for plain, own in pairs)
            print(
                f"| {name} | {len(train.labels)} | {solver} | {statistics.median(seconds[solver]):.2f} | {ratio:.1f} "
                f"| {gradient_norm(probe, features, train.labels):.1e} "
                f"| {probe.inverse_strength:.3g} | {head_norm(probe.kernel):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
