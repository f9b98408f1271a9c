"""Tables for a terminal. No numbers are made here."""

from lpft_keras.tables.data import print_overview, print_tasks
from lpft_keras.tables.exhibits import print_exhibits, print_reproduction
from lpft_keras.tables.measures import print_calibration, print_head_norm, print_kernels, print_representation
from lpft_keras.tables.runs import print_choices, print_result_tables, print_results
from lpft_keras.tables.views import print_sheets

__all__ = [
    "print_calibration",
    "print_choices",
    "print_exhibits",
    "print_head_norm",
    "print_kernels",
    "print_overview",
    "print_representation",
    "print_reproduction",
    "print_result_tables",
    "print_results",
    "print_sheets",
    "print_tasks",
]
