import numpy as np
import pytest

from lpft_keras.methods import METHODS
from lpft_keras.report import (
    calibration_table,
    feature_change_table,
    groups,
    head_norm_table,
    kernel_table,
    published,
    rates_table,
    represent,
    representation_table,
    score_run,
)


def found(table):
    return {(r["task"], r["split"], r["method"], r["metric"]): r for r in table.records}


@pytest.fixture
def plain(swept):
    """Runs whose head was not scaled."""
    return [run for run in swept[1] if run.config["settings"]["head_scale"] == 1]


def test_features_and_heads_are_those_of_the_runs(plain):
    table = representation_table(plain, (1,))
    records = found(table)
    ft = groups(plain)["ft"]
    for split in ("test", "ood"):
        for measure in ("cosine_similarity", "feature_change", "fisher_discriminant_ratio"):
            own = [getattr(represent(run, split), measure) for run in ft]
            assert records["demo", split, "ft", measure]["mean"] == pytest.approx(np.mean(own), rel=1e-6)
        before = [represent(run, split).pretrained["cosine_similarity"] for run in ft]
        assert records["demo", split, "pretrained", "cosine_similarity"]["mean"] == pytest.approx(np.mean(before))
    # The head before training, drawn by the seed: N(0, 0.02^2).
    features = ft[0].features["test"].shape[1]
    drawn = [np.linalg.norm(np.random.default_rng([seed, 1]).normal(0, 0.02, (features, 3))) for seed in (1, 2)]
    assert records["demo", "test", "pretrained", "head_norm"]["mean"] == pytest.approx(np.mean(drawn), rel=1e-5)
    assert ("demo", "ood", "ft", "head_norm") not in records
    names = [row[:2] for row in table.rows]
    assert names[:2] == [("demo", "Pre-trained"), ("demo", "LP")]
    assert ("ood", "LP-LoRA") in names


def test_feature_change_and_norms_by_method(plain):
    change, norm = feature_change_table(plain, (12,)), head_norm_table(plain, (13,))
    assert change.columns == ("rows", "FT", "LP-LoRA")
    assert [row[0] for row in change.rows] == ["demo", "ood"]
    own = [run.metrics["ood"]["feature_change"] for run in groups(plain)["lp-lora"]]
    assert found(change)["demo", "ood", "lp-lora", "feature_change"]["mean"] == pytest.approx(np.mean(own))
    assert norm.columns == ("task", "Pre-trained", "FT", "LP", "LP-LoRA")
    own = [run.summary["head_norm"] for run in groups(plain)["lp"]]
    assert found(norm)["demo", "test", "lp", "head_norm"]["std"] == pytest.approx(np.std(own, ddof=1))


def test_calibration_before_and_after(plain):
    records = found(calibration_table(plain, (14, 15)))
    measures = [score_run(run, split="ood").measures() for run in groups(plain)["ft"]]
    before, after = ([one[when]["ece"] for one in measures] for when in ("before", "after"))
    assert records["demo", "ood", "ft", "ece"]["mean"] == pytest.approx(np.mean(before))
    assert records["demo", "ood", "ft", "ece/scaled"]["mean"] == pytest.approx(np.mean(after))
    gained = records["demo", "ood", "ft", "ece/improvement"]
    assert gained["mean"] == pytest.approx(np.mean(before) - np.mean(after))
    assert gained["std"] == pytest.approx(np.std(np.subtract(before, after), ddof=1))


def kernels(method, rank, seed):
    def part(own):
        accuracy = {"train": 0.9, "test": 0.8}
        return {"rank": own, "frobenius_norm": 10.0 * own, "logit_accuracy": accuracy, "accuracy": accuracy}

    parts = {"pretrain": part(18), "finetune": part(rank), "total": part(rank + 1)}
    own = {"task": "cb", "backbone": "minilm", "method": method, "seed": seed, "rows": {"train": 225, "test": 56}}
    return {**own, "kernels": parts, "ft_ratio": 0.5}


def test_kernels_stand_beside_the_papers():
    table = kernel_table([kernels("ft", 600, 1), kernels("ft", 604, 2), kernels("lp-ft", 449, 1)], (2, 9))
    rows = [row for row in table.rows if "difference" not in row[0]]
    assert rows[0][:4] == ("cb", "", "Pre-train E", "18±0")
    assert rows[1][:4] == ("paper (RoBERTa-base)", "", "", "18")
    assert rows[2] == ("cb", "FT", "FT E", "602±2.8", "6.02e+03±28.3", "90.00±0.00", "80.00±0.00", "0.5±0", "2")
    assert rows[3] == ("paper (RoBERTa-base)", "", "", "608", "1.39e+04", "84.74", "79.76", "0.199", "")
    assert found(table)["cb", "train", "lp-ft", "total/rank"]["paper"] == 344
    assert [row[7] for row in rows if row[2] == "NTK" or row[3] == "210"] == ["", "", ""]
    assert found(table)["cb", "train", "ft", "finetune/rank"]["difference_in_std"] == pytest.approx(-6 / np.sqrt(8))
    assert any("225 and 56" in note for note in table.notes)


def test_rates_of_small_backbones_are_told_from_the_papers():
    records = found(rates_table([("cb", "minilm"), ("rte", "roberta_base_en")], (6,)))
    assert records["cb", "train", "lp-ft", "learning_rate"]["mean"] == 1e-4
    assert records["cb", "train", "lp-ft", "learning_rate"]["paper"] == 5e-6
    assert records["rte", "train", "lora", "learning_rate"]["mean"] == 1e-3


def test_every_published_number_can_be_asked_for():
    # Spot checks against the paper, one a table.
    for table, asked, mean in (
        (1, ("rte", "test", "lp-ft", "feature_change"), 4.70),
        (1, ("cb", "test", "pretrained", "head_norm"), 0.951),
        (2, ("cb", "train", "lp-lora", "ft_ratio"), 1.0137),
        (6, ("amazon", "train", "lp-ft", "learning_rate"), 1e-6),
        (7, ("cb", "test", "", "rows"), 57),
        (9, ("wic", "test", "lp-lora", "total/logit_accuracy"), 0.5960),
        (11, ("amazon", "sst5", "lora", "fisher_discriminant_ratio"), 20.1),
        (12, ("amazon", "semeval", "ft", "feature_change"), 18.3),
        (13, ("wsc", "test", "lp", "head_norm"), 2.26e-4),
        (14, ("rte", "test", "lp-ft", "mce/scaled"), 0.1394),
        (14, ("cb", "test", "lora", "ece/improvement"), -0.0334),
        (15, ("mrpc", "test", "lp-lora", "ece"), 0.0903),
    ):
        assert published(*asked, (table,)).mean == pytest.approx(mean, abs=1e-12)
    assert published("cb", "test", "ft", "head_norm").table == 1
    assert published("cb", "test", "ft", "head_norm", (13, 1)).mean == 0.951
    assert published("cb", "test", "ft", "head_norm", (12,)) is None
    for task in ("cb", "rte", "boolq", "wic", "wsc", "cola", "sst2", "mrpc"):
        for method in METHODS:
            assert published(task, "test", method, "matthews_correlation" if task == "cola" else "accuracy", (8,))
