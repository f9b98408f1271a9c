"""Every outcome of the three tests, on made-up reports: the start has 50 %, fine-tuning 80 % unless said."""

import pytest

from lpft_keras.kernel_views.verdict import in_words, judged
from tests.kernel_views.reports import report

NO_GAIN = "fine-tuning gained nothing on the test rows, so there is no gain that a kernel could explain"

CASES = {
    "all passed": ({"share": 0.6, "sgd": 0.75}, (True, True, True), True, "the kernel view holds"),
    "just enough": (
        {"share": 0.5, "gradient": 1.999, "sgd": 0.9 * 0.8},
        (True, True, True),
        True,
        "the kernel view holds",
    ),
    "more than fine-tuning": ({"share": 1.4, "sgd": 0.95}, (True, True, True), True, "the kernel view holds"),
    "too little of the gain": (
        {"share": 0.499, "sgd": 0.75},
        (False, True, True),
        False,
        "the kernel view holds in part: it fails by linearization",
    ),
    "features move": (
        {"share": 0.6, "gradient": 2.0, "sgd": 0.75},
        (True, False, True),
        False,
        "the kernel view holds in part: it fails by fixed features",
    ),
    "a poor kernel": (
        {"share": 0.6, "sgd": 0.71},
        (True, True, False),
        False,
        "the kernel view holds in part: it fails by kernel",
    ),
    "two failed": (
        {"share": -0.2, "gradient": 3.0, "sgd": 0.75},
        (False, False, True),
        False,
        "the kernel view holds in part: it fails by linearization, fixed features",
    ),
    "all failed": (
        {"share": 0.1, "gradient": 3.0, "sgd": 0.4},
        (False, False, False),
        False,
        "the kernel view does not hold: it fails by linearization, fixed features, kernel",
    ),
    "nothing gained": ({"tuned": 0.5, "share": None, "sgd": 0.5}, (None, True, True), False, NO_GAIN),
    "something lost": ({"tuned": 0.4, "share": 0.5, "sgd": 0.5}, (None, True, True), False, NO_GAIN),
    "lost, and all else failed": (
        {"tuned": 0.4, "share": 0.5, "gradient": 9.0, "sgd": 0.2},
        (None, False, False),
        False,
        NO_GAIN,
    ),
    "gradients were zero": (
        {"share": 0.6, "gradient": None, "sgd": 0.75},
        (True, None, True),
        True,
        "the kernel view holds",
    ),
    "Adam is told by its best kernel": (
        {"optimizer": "adam", "share": 0.6, "sgd": 0.1, "signgd": 0.2, "asymmetric_signgd": 0.75},
        (True, True, True),
        True,
        "the kernel view holds",
    ),
    "SGD's kernel says nothing of Adam": (
        {"optimizer": "adam", "share": 0.6, "sgd": 0.9, "signgd": 0.2, "asymmetric_signgd": 0.3},
        (True, True, False),
        False,
        "the kernel view holds in part: it fails by kernel",
    ),
    "SignGD by one of its two": (
        {"optimizer": "signgd", "share": 0.6, "signgd": 0.75, "asymmetric_signgd": 0.1},
        (True, True, True),
        True,
        "the kernel view holds",
    ),
    "of two kernels the validation rows choose": (
        {"optimizer": "adam", "share": 0.6, "signgd": (0.73, 0.5), "asymmetric_signgd": (0.6, 0.9)},
        (True, True, False),
        False,
        "the kernel view holds in part: it fails by kernel",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_verdict(name):
    numbers, tests, holds, words = CASES[name]
    made = report(**numbers)
    optimizer = numbers.get("optimizer", "sgd")
    verdict = judged(made, optimizer)
    assert verdict == {
        **dict(zip(("linearization", "fixed_features", "kernel"), tests, strict=True)),
        "holds": holds,
    }
    assert in_words(verdict, made, optimizer) == words
    assert holds == (words == "the kernel view holds")
