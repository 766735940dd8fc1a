"""Reinforcement learning for medical vision-language models: the library under the course.

`data` has the questions, `model` the models, `rl` the training, `evaluation` asks a model and keeps
its answers, `analysis` has the statistics and figures, `course` what only the notebooks need, and
`cli` the commands.
"""

__version__ = "0.2.0"
