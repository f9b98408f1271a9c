"""k training and k validation rows a class, drawn by the seed from the official training rows."""

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.methods import FEW_SHOT_SEEDS
from lpft_keras.tasks import few_shot, get_task, load_task, own_task


def own(tmp_path, counts, tests=3, **more):
    """A task of texts "a 0", "a 1", ..., each told from all others."""
    for name, many in (("train", counts), ("test", dict.fromkeys(counts, tests))):
        rows = [f"{label} {name} {i},{label}" for label, count in many.items() for i in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    return own_task(tmp_path / "train.csv", test=tmp_path / "test.csv", **more)


def drawn(split):
    return {text for (text,) in split.texts}


def test_so_many_rows_a_class_and_none_twice(tmp_path):
    data = load_task(own(tmp_path, {"a": 50, "b": 70, "c": 30}))
    found = {seed: few_shot(data, 8, seed) for seed in FEW_SHOT_SEEDS}
    for few in found.values():
        for split in (few.train, few.validation):
            assert np.bincount(split.labels).tolist() == [8, 8, 8]
            assert list(split.labels) == sorted(split.labels), "in file order"
        assert not drawn(few.train) & drawn(few.validation)
    assert len({frozenset(drawn(few.train)) for few in found.values()}) == len(FEW_SHOT_SEEDS) == 5
    again = few_shot(data, 8, FEW_SHOT_SEEDS[0])
    assert again.checksums() == found[13].checksums()
    assert few_shot(data, None, 13) is data


def test_they_are_drawn_from_all_official_training_rows(tmp_path):
    """Those that would validate otherwise, the last tenth, too."""
    data = load_task(own(tmp_path, {"a": 40, "b": 40}, split="stratified"))
    few = few_shot(data, 20, 13)
    assert drawn(few.train) | drawn(few.validation) == drawn(data.train) | drawn(data.validation)
    limited = few_shot(load_task(own(tmp_path, {"a": 40, "b": 40}), limit=50), 5, 13)
    assert not any(int(text.rsplit(" ", 1)[1]) >= 10 for text in drawn(limited.train) if text.startswith("b"))


def test_official_validation_rows_are_left_alone(tmp_path):
    task = own(tmp_path, {"a": 20, "b": 20}, validation=tmp_path / "test.csv")
    few = few_shot(load_task(task), 4, 13)
    assert all("train" in text for text in drawn(few.validation))


def test_a_class_with_fewer_rows_gives_what_it_has(tmp_path, caplog):
    data = load_task(own(tmp_path, {"a": 30, "b": 7}, split="stratified"))
    few = few_shot(data, 8, 21)
    assert [np.bincount(split.labels).tolist() for split in (few.train, few.validation)] == [[8, 4], [8, 3]]
    assert "class 'b' has 7 rows instead of twice 8: 4 train, 3 validate" in caplog.text
    with pytest.raises(InputError, match="class 'b' has 1 training row, too few"):
        few_shot(load_task(own(tmp_path, {"a": 9, "b": 1}, validation=tmp_path / "test.csv")), 2, 1)


def test_a_thousand_test_rows_the_same_for_all_seeds(tmp_path):
    data = load_task(own(tmp_path, {"a": 9, "b": 9}, tests=700, ood={"other": tmp_path / "test.csv"}))
    one, two = few_shot(data, 2, 13), few_shot(data, 2, 100)
    assert len(one.test) == len(one.ood["other"]) == 1000 < len(data.test)
    assert one.test.checksum == two.test.checksum
    assert few_shot(load_task(get_task("demo")), 16, 13).test.checksum == load_task(get_task("demo")).test.checksum
