"""What is read off finished runs: the rows of the paper's tables, and figures. Run directories in, numbers out."""

from lpft_keras.report.calibration import Scored, plot_scored, score_file, score_run
from lpft_keras.report.cells import mean_and_deviation
from lpft_keras.report.differences import Difference, difference_table, paired_differences
from lpft_keras.report.feature_map import feature_map, plot_feature_map
from lpft_keras.report.groups import groups, groups_by_task
from lpft_keras.report.head_norm import HeadNormPoint, head_norm_points, plot_head_norm, trends
from lpft_keras.report.in_print import number_in_print
from lpft_keras.report.norm_paths import norm_paths, plot_norm_paths
from lpft_keras.report.paper_tables import (
    calibration_table,
    feature_change_table,
    head_norm_table,
    kernel_table,
    rates_table,
    representation_table,
    rows_table,
)
from lpft_keras.report.published import Published, published
from lpft_keras.report.rendering import ResultTable, as_csv, as_latex, as_markdown
from lpft_keras.report.representation import Represented, represent
from lpft_keras.report.results_table import result_tables

__all__ = [
    "Difference",
    "HeadNormPoint",
    "Published",
    "Represented",
    "ResultTable",
    "Scored",
    "as_csv",
    "as_latex",
    "as_markdown",
    "calibration_table",
    "difference_table",
    "feature_change_table",
    "feature_map",
    "groups",
    "groups_by_task",
    "head_norm_points",
    "head_norm_table",
    "kernel_table",
    "mean_and_deviation",
    "norm_paths",
    "number_in_print",
    "paired_differences",
    "plot_feature_map",
    "plot_head_norm",
    "plot_norm_paths",
    "plot_scored",
    "published",
    "rates_table",
    "represent",
    "representation_table",
    "result_tables",
    "rows_table",
    "score_file",
    "score_run",
    "trends",
]
