"""The library under the course: reinforcement learning for medical vision-language models."""
