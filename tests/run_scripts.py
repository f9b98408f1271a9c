"""Run scripts one after another in one process, which imports Keras once: what each prints, or its traceback, as JSON.

python tests/run_scripts.py < [{"path": ..., "folder": ..., "arguments": [...]}, ...]
"""

import contextlib
import io
import json
import os
import runpy
import sys
import traceback

outcomes = []
for script in json.load(sys.stdin):
    os.chdir(script["folder"])
    sys.argv = [script["path"], *script["arguments"]]
    output, error = io.StringIO(), ""
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_path(script["path"], run_name="__main__")
        except SystemExit as end:
            error = "" if not end.code else f"exit status {end.code}"
        except Exception:
            error = traceback.format_exc()
    outcomes.append({"output": output.getvalue(), "error": error})
json.dump(outcomes, sys.stdout)
