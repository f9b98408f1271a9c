"""Real runs on texts and class names that would break a page that trusts them."""

import csv

import numpy as np
import pytest

LABELS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "plain {{ 7 * 7 }}")
ODD = [
    ("", ""),
    ("<script>alert(3)</script>", "</title></style></svg><script>alert(4)</script>"),
    ("\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \N{RIGHT-TO-LEFT OVERRIDE}evil", "abc"),
    ("unbroken" * 400, "\x01 control \x1b[31m"),
    ("javascript:alert(5)", "{% raw %} {{ config }} &amp; &lt;b&gt;"),
]
RUNS = (("lp", 1), ("lp", 2), ("ft", 1))


def write_rows(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        writer.writerows(rows)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Two seeds of LP and one of FT, on pairs of texts; test rows leak, and one class is not in "far"."""
    from lpft_keras import own_task, run

    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    words = ["good", "bad", "fine", "cat", "dog", "tree", "stone"]
    rows = [(*(" ".join(rng.choice(words, 6)) for _ in range(2)), LABELS[n % 3]) for n in range(90)]
    odd = [(*texts, LABELS[n % 3]) for n, texts in enumerate(ODD * 3)]
    write_rows(folder / "train.csv", rows + odd)
    write_rows(folder / "dev.csv", [(a[::-1], b, y) for a, b, y in rows[:30]])
    write_rows(folder / "test.csv", [(a, b, LABELS[n % 3]) for n, (a, b, _) in enumerate(odd + rows[:6])])
    write_rows(folder / "far.csv", [(b, a, LABELS[n % 2]) for n, (a, b, _) in enumerate(rows[60:] + odd)])
    task = own_task(
        folder / "train.csv",
        name="odd",
        text=["a", "b"],
        validation=folder / "dev.csv",
        test=folder / "test.csv",
        ood={"far": folder / "far.csv"},
        metric="macro_f1",
    )
    options = {"backbone": "tiny", "epochs": 1, "max_length": 24, "output_dir": folder / "runs", "learning_rate": 3e-3}
    return folder, task, [run(task, method, seed=seed, micro_batches=1, **options) for method, seed in RUNS]
