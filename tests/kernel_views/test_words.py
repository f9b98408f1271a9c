"""A made-up report on a terminal and as Markdown."""

from pathlib import Path

import pytest

from lpft_keras.kernel_views.verdict import in_words, judged
from lpft_keras.kernel_views.words import as_markdown, conclusions, heading, sheets
from lpft_keras.tables import print_sheets
from tests.kernel_views.reports import report


@pytest.fixture
def made():
    made = report(share=2 / 3, sgd=0.75)
    verdict = judged(made, "sgd")
    made["verdict"]["sgd"] = verdict | {"words": in_words(verdict, made, "sgd")}
    return made


def cells(made):
    """The rows of all tables by their first cell."""
    return {row[0]: list(row[1:]) for sheet in sheets(made) for row in sheet.rows}


def test_every_number_is_in_its_place(made):
    found = cells(made)
    assert found["start of fine-tuning"] == ["50.00", "", ""]
    assert found["fine-tuned by SGD"] == ["80.00", "", "learning rate 0.03"]
    assert found["its linear model (SGD)"] == ["70.00", "", ""]
    assert found["SGD kernel"] == ["75.00", "80.00", "KernelLeastSquares (lambda 0.01, f0 scaling inf)"]
    assert found["asymmetric SignGD kernel"] == [
        "70.00",
        "80.00",
        "AsymmetricLeastSquaresSVM (f0 scaling 10.0, gamma 1.0, mixing 0.5)",
    ]
    assert found["SGD kernel, gradient flow"] == ["65.00", "", "time 31.4"]
    assert found["SGD"] == ["0.67 passed", "0.50 passed", "0.31, 0.41", "passed"]
    assert found["SGD, learning rate 0.1"] == ["0.123", "0.2"]
    assert found["SGD, learning rate 0.01"] == ["0.0123", "0.02"]
    assert found["SignGD, learning rate 0.001"] == ["0.3", "-"]
    assert found["norm of the head at the start"] == ["1.25", ""]
    assert found["largest stable learning rate, mean squared loss"] == ["0.0625", ""]
    assert found["F of LoRA / F of what it adapts"] == ["0.0855±0.01", "0.0833"]
    assert found["what is left of it"] == ["0.187", ""]
    assert found["sum P delta against V phi / C, after LP"] == ["3.0e-05", "0"]
    for sheet in sheets(made):
        assert {len(row) for row in sheet.rows} == {len(sheet.columns)}
    steps = next(sheet for sheet in sheets(made) if "step" in sheet.title)
    assert "||P part|| is 0.9 and ||F part|| 0.2" in steps.note


def test_what_is_not_there_is_said(made):
    """No gain, tests that failed, no LP."""
    other = report(tuned=0.5, share=None, gradient=2.5, sgd=0.1)
    other["theory"]["lp_optimum_gap"] = None
    other["verdict"]["sgd"] = judged(other, "sgd") | {"words": "nothing"}
    found = cells(other)
    assert found["SGD"] == ["none", "2.50 failed", "0.31, 0.41", "failed"]
    assert not [name for name in found if "after LP" in name]
    lost = report(tuned=0.4, share=0.5)
    lost["verdict"]["sgd"] = judged(lost, "sgd")
    assert cells(lost)["SGD"][0] == "none"


def test_the_heading_says_what_was_looked_at(made):
    assert heading(made) == (
        "Kernel view of lp-ft on demo, tiny, seed 13, 4 rows a class (12 train, 11 validation, 10 test rows)"
    )
    without = {**made, "shots": None, "prompt": "<s1> It was [M].", "rows": {"train": 12, "validation": 11}}
    assert heading(without) == (
        'Kernel view of lp-ft on demo, tiny, seed 13, prompt "<s1> It was [M]." (12 train, 11 validation rows)'
    )


def test_conclusions_name_the_optimiser(made):
    assert conclusions(made) == ["SGD: the kernel view holds."]


def test_markdown_holds_all_tables_and_no_markup_of_a_user(made):
    made |= {"task": "a|b <i>*c*\nd", "prompt": "<s1> [M](x) `y`", "backbone": "hf://o/n_m_"}
    text = as_markdown(made)
    first, *lines = text.splitlines()
    assert first == (
        "# Kernel view of lp-ft on a\\|b &lt;i&gt;\\*c\\* d, hf://o/n\\_m\\_, seed 13, 4 rows a class, "
        'prompt "&lt;s1&gt; \\[M\\](x) \\`y\\`" (12 train, 11 validation, 10 test rows)'
    )
    assert "- SGD: the kernel view holds." in lines
    tables = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    widths, rules = [line.count("|") for line in tables], [line for line in tables if line.startswith("|---")]
    assert len(rules) == len(sheets(made))
    assert len(tables) == sum(len(sheet.rows) + 2 for sheet in sheets(made))
    at = 0
    for sheet in sheets(made):
        assert widths[at : at + len(sheet.rows) + 2] == [len(sheet.columns) + 1] * (len(sheet.rows) + 2)
        at += len(sheet.rows) + 2
        assert sheet.note in lines


def test_a_terminal_shows_markup_of_a_user_as_it_is(made, capsys):
    made |= {"task": "[red]a|b[/red]"}
    print_sheets(heading(made), sheets(made), conclusions(made), Path("runs/[bold]x/kernel_view"))
    shown = capsys.readouterr().out
    assert "lp-ft on [red]a|b[/red], tiny" in shown
    assert "runs/[bold]x/kernel_view" in shown
    assert "SGD: the kernel view holds." in shown
    for word in ("80.00", "0.67 passed", "0.0833", "learning rate 0.03"):
        assert word in shown
