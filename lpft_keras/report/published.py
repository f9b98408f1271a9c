"""What the paper reports of the methods: test results of RoBERTa-base, mean and standard deviation over five seeds.

Tables 8 (SuperGLUE and GLUE), 10 (trained on Amazon, tested on BOSS' shifted sets too) and 16 (PubMed 20k) of Akiyoshi
Tomihari and Issei Sato, "Understanding Linear Probing then Fine-tuning Language Models from NTK Perspective", NeurIPS
2024. All is accuracy, but CoLA's is Matthews' correlation.

Some cells are those of classifiers that give every row the same class, the most frequent one of the test rows: WSC by
every method (66 of 104 rows), SST-2 and MRPC by LoRA. They say that training failed there, not what the method can do.
"""

from lpft_keras.methods import METHODS

PUBLISHED: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("cb", "test"): ((77.86, 4.24), (81.43, 3.91), (84.64, 2.40), (77.50, 5.30), (75.71, 2.04)),
    ("rte", "test"): ((57.69, 1.10), (74.73, 3.04), (76.75, 0.87), (72.85, 1.41), (74.08, 2.57)),
    ("sst2", "test"): ((86.31, 0.10), (92.41, 0.32), (94.52, 0.26), (50.92, 0.00), (94.22, 0.45)),
    ("wic", "test"): ((61.32, 0.28), (65.89, 1.15), (66.14, 1.83), (62.70, 7.37), (64.29, 1.82)),
    ("cola", "test"): ((46.27, 0.33), (58.75, 1.70), (57.95, 1.95), (57.29, 2.98), (58.21, 1.55)),
    ("mrpc", "test"): ((73.09, 0.86), (88.14, 0.73), (87.60, 0.79), (68.38, 0.00), (87.79, 1.00)),
    ("wsc", "test"): ((63.46, 0.00), (63.46, 0.00), (63.46, 0.00), (63.46, 0.68), (63.46, 0.00)),
    ("boolq", "test"): ((64.66, 0.08), (78.69, 0.27), (79.00, 0.42), (77.59, 0.39), (77.67, 0.50)),
    ("amazon", "test"): ((83.04, 0.01), (88.66, 1.62), (88.89, 1.02), (86.05, 2.16), (88.17, 1.97)),
    ("amazon", "dynasent"): ((42.69, 0.05), (44.33, 1.11), (45.41, 0.80), (46.70, 1.68), (43.37, 1.50)),
    ("amazon", "semeval"): ((50.04, 0.01), (52.20, 1.82), (51.96, 2.72), (55.29, 2.93), (48.84, 3.20)),
    ("amazon", "sst5"): ((56.81, 0.11), (72.52, 1.28), (73.78, 1.05), (72.88, 1.84), (72.31, 1.30)),
    ("pubmed", "test"): ((82.64, 0.02), (87.09, 0.17), (87.05, 0.11), (87.13, 0.09), (86.85, 0.07)),
}
"""Mean and standard deviation in per cent by (task, split), of the methods in the order of `METHODS`."""

TASK_ORDER = tuple(dict.fromkeys(task for task, _ in PUBLISHED))


def published(task: str, split: str, method: str, metric: str) -> tuple[float, float] | None:
    """Return what the paper reports.

    Args:
        task: Name of a task, such as "cb".
        split: "test", or the name of a shifted set.
        method: Name of a method.
        metric: Name of a metric.

    Returns:
        Mean and standard deviation as fractions, like our own numbers; None where the paper has none.

    Example:
        >>> published("cb", "test", "lp-ft", "accuracy")
        (0.8464, 0.024)
    """
    reported = "matthews_correlation" if task == "cola" else "accuracy"
    if (task, split) not in PUBLISHED or method not in METHODS or metric != reported:
        return None
    mean, deviation = PUBLISHED[task, split][list(METHODS).index(method)]
    return round(mean / 100, 4), round(deviation / 100, 4)
