"""The command that gives a finished run to others: `export`."""

import argparse

from lpft_keras.errors import InputError
from lpft_keras.progress import silent_start


def add_export(commands) -> None:
    """Add `export`."""
    command = commands.add_parser(
        "export",
        help="write a finished run as a KerasHub preset with a model card, or upload it",
        allow_abbrev=False,
    )
    command.add_argument("run_directory", metavar="RUN_DIRECTORY", help="a finished run")
    command.add_argument("--output", metavar="DIRECTORY", help="where to: new, empty, or written so before")
    command.add_argument(
        "--upload", metavar="URI", help="hf://user/name or kaggle://user/model/keras/variation; needs a login there"
    )
    command.add_argument("--license", metavar="L", help="for the model card, such as apache-2.0")
    command.add_argument("--uncalibrated", action="store_true", help="leave the temperature out of the head")
    command.add_argument("--private", action="store_true", help="make a new repository of Hugging Face a private one")
    command.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    command.set_defaults(call=_export)


def _export(parsed: argparse.Namespace) -> int:
    if parsed.output is None and parsed.upload is None:
        raise InputError("export takes --output, --upload or both (see lpft-keras export --help)")
    if parsed.private and parsed.upload is None:
        raise InputError("--private is for --upload")
    from lpft_keras.backend import check_backend
    from lpft_keras.results import RunResult
    from lpft_keras.storage import as_json

    result = RunResult.load(parsed.run_directory)
    check_backend()
    options = {"calibrated": not parsed.uncalibrated, "license": parsed.license}
    with silent_start():
        import lpft_keras.sharing  # noqa: F401  (brings Keras, and what its backend says as it wakes)
    if parsed.upload is None:
        result.to_preset(parsed.output, **options)
    else:
        result.upload(parsed.upload, parsed.output, private=parsed.private, **options)
    if parsed.json:
        print(as_json({"run": str(result.directory), "directory": parsed.output, "uploaded": parsed.upload}))
    else:
        print("\n".join(place for place in (parsed.output, parsed.upload) if place))
    return 0
