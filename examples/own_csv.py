"""From a CSV file of one's own to a classifier that is trained, calibrated, saved and loaded again.

Printed with pocket on TensorFlow:

    validation {'accuracy': 0.96, 'macro_f1': 0.958, 'ece': 0.547}
    test {'accuracy': 0.95, 'macro_f1': 0.951, 'ece': 0.535}
    elsewhere {'accuracy': 0.945, 'macro_f1': 0.944, 'ece': 0.53}
    Anna bought a violin. Anna bought an instrument.
      contradiction 0.003
      entailment 0.994
      neutral 0.003
"""

import csv
import tempfile
from pathlib import Path

import lpft_keras
from lpft_keras.tasks.grammar import demo_rows

with tempfile.TemporaryDirectory() as folder:
    # Any file with a column of labels and one or two of texts will do; this one is generated.
    for name, split in (("train", "train"), ("held_out", "test"), ("elsewhere", "ood")):
        with open(Path(folder, f"{name}.csv"), "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("premise", "hypothesis", "relation"), *demo_rows(split)])

    task = lpft_keras.own_task(
        Path(folder, "train.csv"),
        name="relations",
        text=["premise", "hypothesis"],
        label="relation",
        test=Path(folder, "held_out.csv"),
        ood={"elsewhere": Path(folder, "elsewhere.csv")},
        split="stratified",
    )
    result = lpft_keras.run(task, method="lp", backbone="pocket", output_dir=Path(folder, "runs"))
    for split, metrics in result.metrics.items():
        print(split, {name: round(metrics[name], 3) for name in ("accuracy", "macro_f1", "ece")})

    saved = Path(folder, "classifier")
    lpft_keras.TextClassifier.from_run(result.directory, calibrated=True).save(saved)
    classifier = lpft_keras.TextClassifier.load(saved)
    pair = ("Anna bought a violin.", "Anna bought an instrument.")
    print(*pair)
    for name, probability in zip(classifier.classes_, classifier.predict_proba([pair])[0], strict=True):
        print(f"  {name} {probability:.3f}")
