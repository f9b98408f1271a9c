"""PubMed 20k RCT: five classes. Calibration of the top label hides what class-wise calibration shows.

Printed with minilm on PyTorch, not on PubMed, which was not at hand, but on the first 1,000 rows of files in its
format, made by `python -m tests.official_files data pubmed --train 2000 --test 1000`:

    unscaled    ECE of the top label 0.623, class-wise 0.226
    temperature ECE of the top label 0.093, class-wise 0.036
    vector      ECE of the top label 0.074, class-wise 0.028
    BACKGROUND  share 0.200; mean probability unscaled 0.200, temperature 0.209, vector 0.203
    CONCLUSIONS share 0.200; mean probability unscaled 0.200, temperature 0.178, vector 0.194
    METHODS     share 0.200; mean probability unscaled 0.200, temperature 0.201, vector 0.203
    OBJECTIVE   share 0.200; mean probability unscaled 0.200, temperature 0.173, vector 0.194
    RESULTS     share 0.200; mean probability unscaled 0.200, temperature 0.239, vector 0.205
"""

import argparse

import lpft_keras
from lpft_keras.calibration import class_wise_calibration_error, expected_calibration_error
from lpft_keras.report import score_run

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", default="data", help="holds pubmed/train.txt, pubmed/dev.txt and pubmed/test.txt")
parser.add_argument("--backbone", default="minilm")
parser.add_argument("--limit", type=int, default=1000, help="rows of each split")
args = parser.parse_args()

result = lpft_keras.run(
    "pubmed", "lp", args.backbone, args.data_dir, limit=args.limit, output_dir=f"runs/first_{args.limit}"
)
temperature, vector = (score_run(result, scaling) for scaling in ("temperature", "vector"))
panels = {"unscaled": temperature.before, "temperature": temperature.after, "vector": vector.after}
for name, probabilities in panels.items():
    top = expected_calibration_error(probabilities, temperature.labels)
    class_wise = class_wise_calibration_error(probabilities, temperature.labels)
    print(f"{name:11} ECE of the top label {top:.3f}, class-wise {class_wise:.3f}")
for number, section in enumerate(lpft_keras.tasks.get_task("pubmed").labels):
    share = (temperature.labels == number).mean()
    said = ", ".join(f"{name} {probabilities[:, number].mean():.3f}" for name, probabilities in panels.items())
    print(f"{section:11} share {share:.3f}; mean probability {said}")
