"""The default linear probe against the paper's solver, on minilm's features of real tasks.

    python benchmarks/linear_probe.py --data-dir data [--task rte] [--rounds 3]

Both go through `linear_probe`, the cross-validation over C included. The gradient is that of the mean loss with its
penalty, in the form that scikit-learn minimises; it tells how far a solver stopped from the optimum.
"""

import argparse
import os
import statistics
import time

import numpy as np
from scipy.special import expit, softmax

from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.encoding import encode
from lpft_keras.representation import head_norm
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import Probe, ProbeSettings, linear_probe

SOLVERS = {"default": ProbeSettings(), "paper": ProbeSettings(solver="lbfgs", tolerance=1e-4, max_iterations=5000)}


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
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds\n")
    print("| task | rows | solver | seconds | times as fast | gradient | C | head norm |")
    print("|---|---:|---|---:|---:|---:|---:|---:|", flush=True)
    backbone = load_backbone("minilm")
    for name in options.task or ["cb", "rte"]:
        task = get_task(name)
        train = load_task(task, options.data_dir).train
        classifier = build_classifier(backbone, len(task.labels))
        features = forward_function(classifier)(encode(backbone, train.texts))[0].astype(np.float64)
        seconds: dict[str, list[float]] = {solver: [] for solver in SOLVERS}
        probes = {}
        for _ in range(options.rounds):
            for solver, settings in SOLVERS.items():
                start = time.perf_counter()
                probes[solver] = linear_probe(features, train.labels, len(task.labels), settings, seed=1001)
                seconds[solver].append(time.perf_counter() - start)
        for solver, probe in probes.items():
            pairs = zip(seconds["paper"], seconds[solver], strict=True)
            ratio = statistics.median(paper / own for paper, own in pairs)
            print(
                f"| {name} | {len(train.labels)} | {solver} ({SOLVERS[solver].solver}) "
                f"| {statistics.median(seconds[solver]):.2f} | {ratio:.1f} "
                f"| {gradient_norm(probe, features, train.labels):.1e} "
                f"| {probe.inverse_strength:.3g} | {head_norm(probe.kernel):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
