"""Compare fine-tuning with LP-FT on the generated demo, in and out of distribution. Needs no download."""

import lpft_keras

for method in ("ft", "lp-ft"):
    result = lpft_keras.run("demo", method=method)
    print(method, {split: round(metrics["accuracy"], 3) for split, metrics in result.metrics.items()})
