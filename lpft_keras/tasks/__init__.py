"""Tasks: what is to be learnt, and where its rows come from. Nothing here knows of models."""

from lpft_keras.tasks.catalogue import TASKS
from lpft_keras.tasks.few_shot import few_shot
from lpft_keras.tasks.loading import get_task, load_task
from lpft_keras.tasks.own import own_task, read_toml
from lpft_keras.tasks.splits import Split, TaskData
from lpft_keras.tasks.task import Task

__all__ = ["TASKS", "Split", "Task", "TaskData", "few_shot", "get_task", "load_task", "own_task", "read_toml"]
