"""What is read off finished runs: the rows of the paper's tables, and figures. Run directories in, numbers out."""

from lpft_keras.report.calibration import Scored, plot_scored, score_file, score_run
from lpft_keras.report.differences import Difference, difference_table, paired_differences
from lpft_keras.report.groups import groups, groups_by_task
from lpft_keras.report.head_norm import HeadNormPoint, head_norm_points, plot_head_norm, trends
from lpft_keras.report.published import published
from lpft_keras.report.rendering import ResultTable, as_csv, as_latex, as_markdown
from lpft_keras.report.representation import Represented, represent
from lpft_keras.report.results_table import mean_and_deviation, number_in_print, result_tables

__all__ = [
    "Difference",
    "HeadNormPoint",
    "Represented",
    "ResultTable",
    "Scored",
    "as_csv",
    "as_latex",
    "as_markdown",
    "difference_table",
    "groups",
    "groups_by_task",
    "head_norm_points",
    "mean_and_deviation",
    "number_in_print",
    "paired_differences",
    "plot_head_norm",
    "plot_scored",
    "published",
    "represent",
    "result_tables",
    "score_file",
    "score_run",
    "trends",
]
