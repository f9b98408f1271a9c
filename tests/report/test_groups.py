import pytest

from lpft_keras.errors import InputError
from lpft_keras.report import groups


def test_runs_of_one_setting_belong_together(swept):
    _, results = swept
    found = groups(results)
    assert [(name, len(members)) for name, members in found.items()] == [
        ("lp", 2),
        ("ft", 2),
        ("ft x10", 2),
        ("lp-lora", 2),
        ("lp-lora x10", 2),
    ]
    assert [result.summary["seed"] for result in found["ft"]] == [1, 2]


def test_a_run_given_twice_is_refused(swept):
    _, results = swept
    with pytest.raises(InputError, match="are the same run of 'lp'"):
        groups([results[0], results[1], results[0]])
