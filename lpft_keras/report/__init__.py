"""What is read off finished runs: the rows of the paper's tables, and figures. Run directories in, numbers out."""

from lpft_keras.report.calibration import Scored, plot_scored, score_file, score_run
from lpft_keras.report.groups import groups
from lpft_keras.report.head_norm import HeadNormPoint, head_norm_points, plot_head_norm, trends
from lpft_keras.report.representation import Represented, represent

__all__ = [
    "HeadNormPoint",
    "Represented",
    "Scored",
    "groups",
    "head_norm_points",
    "plot_head_norm",
    "plot_scored",
    "represent",
    "score_file",
    "score_run",
    "trends",
]
