"""Reinforcement learning for medical vision-language models: the library under the course.

`data` has questions, `model` the models, `rl` the training, `evaluation` asks and keeps answers,
`analysis` has statistics and figures, `course` what only the notebooks need, `cli` the commands.
"""

import logging

__version__ = "0.2.0"

# Else it complains of a missing kernel when it is imported.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
