"""Many runs, their table, and whether two methods differ by more than chance."""

import tempfile

import lpft_keras
from lpft_keras.report import as_markdown, paired_differences, result_tables

with tempfile.TemporaryDirectory() as folder:
    found = lpft_keras.sweep(
        "demo",
        ["lp", "lp-ft"],
        seeds=[1001, 2002],
        backbones="pocket",
        epochs=3,
        output_dir=folder,
        show_progress=False,
    )
    print(as_markdown(result_tables(found.results)))
    for difference in paired_differences(found.results, versus="lp"):
        interval = difference.interval
        print(
            f"{difference.split}: {interval.value:+.3f}, 95 % of resamples in [{interval.low:+.3f}, {interval.high:+.3f}]"
        )
