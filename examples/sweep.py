"""Many runs, their table, and whether two methods differ by more than chance."""

import tempfile

import lpft_keras
from lpft_keras.report import as_markdown, paired_differences, result_tables

with tempfile.TemporaryDirectory() as folder:
    options = {"backbones": "pocket", "epochs": 3, "output_dir": folder, "show_progress": False}
    found = lpft_keras.sweep("demo", ["lp", "lp-ft"], seeds=[1001, 2002], **options)
    print(as_markdown(result_tables(found.results)))
    for difference in paired_differences(found.results, versus="lp"):
        change = difference.interval
        print(f"{difference.split}: {change.value:+.3f}, 95 % interval [{change.low:+.3f}, {change.high:+.3f}]")
