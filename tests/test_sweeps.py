import pytest

from lpft_keras import InputError, sweep
from tests.conftest import SWEPT as SMALL


def test_the_cross_product_is_run_and_finished_runs_are_reused(tmp_path):
    options = {"head_scales": (2, 2.0, 1.0), "output_dir": tmp_path, **SMALL}
    first = list(sweep("demo", ["lp", "lora"], 1, **options))
    assert [(r.summary["method"], r.directory.name) for r in first] == [
        ("lp", "seed_1"),
        ("lora", "seed_1-head_scale_2"),
        ("lora", "seed_1"),
    ]
    again = list(sweep("demo", iter(["lp", "lora"]), iter([1]), **options))  # what can be read only once will do
    assert [r.summary for r in again] == [r.summary for r in first]


def test_all_settings_are_checked_before_the_first_run(tmp_path):
    for arguments, words in (
        ({"methods": ["lp", "ft"], "head_scales": (1.0, -1.0)}, "head_scale must be"),
        ({"methods": "ft", "head_scales": None}, "head_scale must be"),
        ({"methods": ["lp", "tf"]}, "did you mean 'ft'"),
        ({"methods": []}, "methods hold nothing"),
        ({"seeds": 1.5}, "seed must be"),
    ):
        with pytest.raises(InputError, match=words):
            sweep("demo", output_dir=tmp_path, **arguments, **SMALL)
    assert not list(tmp_path.iterdir())
