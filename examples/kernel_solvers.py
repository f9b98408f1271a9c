"""Three kernels of one classifier, each with the solver that is best on validation rows; two and three classes.

Printed on TensorFlow:

    2 classes, sgd: KernelLeastSquares, examples 1.00, logits 1.00
    2 classes, signgd: KernelLeastSquares, examples 0.95, logits 0.95
    2 classes, asymmetric-signgd: AsymmetricLeastSquaresSVM, examples 0.95, logits 0.95
    3 classes, sgd: KernelLeastSquares, examples 0.98, logits 0.96
    3 classes, signgd: KernelLeastSquares, examples 0.90, logits 0.89
    3 classes, asymmetric-signgd: AsymmetricLeastSquaresSVM, examples 0.97, logits 0.94
"""

import keras
import numpy as np

from lpft_keras import ntk


def rows_and_labels(classes):
    """Return 150 vectors, two clusters a class: 60 to fit on, 30 to choose by, 60 to test on."""
    rng = np.random.default_rng(classes)
    centres = rng.normal(size=(2 * classes, 16))
    clusters = rng.integers(0, 2 * classes, 150)
    rows = (centres[clusters] + 0.8 * rng.normal(size=(150, 16))).astype("float32")
    cut = [60, 90]
    return np.split(rows, cut), np.split(clusters % classes, cut)


for classes in (2, 3):
    (train, validation, test), (own, chosen_by, unseen) = rows_and_labels(classes)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([layers.Input((16,)), layers.Dense(48, activation="gelu"), layers.Dense(classes)])
    held = np.concatenate([validation, test])
    for kind in ("sgd", "signgd", "asymmetric-signgd"):
        options = {"single_logit": classes == 2, "show_progress": False}
        inside, across = ntk.train_test_ntk(model, train, held, kind=kind, **options)
        flipped, candidates = None, None  # None: ridge regression, over a grid
        if kind == "asymmetric-signgd":
            flipped = ntk.empirical_ntk(model, held, train, kind=f"{kind}-flipped", **options).total
            grid = {"gamma": [0.1, 1, 10], "mixing": [0, 0.5, 1], "regularization": [0, 0.01, 0.1]}
            candidates = ntk.solver_grid(ntk.AsymmetricLeastSquaresSVM(), grid)
        chosen = ntk.select_solver(
            inside.total,
            own,
            across.total[:30],
            chosen_by,
            candidates=candidates,
            flipped=None if flipped is None else flipped[:30],
        )
        asked = (across.total[30:], unseen, None, None if flipped is None else flipped[30:])
        print(
            f"{classes} classes, {kind}: {type(chosen.solver).__name__}, "
            f"examples {chosen.solver.accuracy(*asked):.2f}, logits {chosen.solver.logit_accuracy(*asked):.2f}"
        )
