"""Tasks: what is to be learnt, and where its rows come from. Nothing here knows of models."""

from lpft_keras.tasks.catalogue import TASKS, get_task, load_task
from lpft_keras.tasks.task import Split, Task, TaskData

__all__ = ["TASKS", "Split", "Task", "TaskData", "get_task", "load_task"]
