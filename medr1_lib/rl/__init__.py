"""Reinforcement learning: rewards, the loss, rollouts, and training with and without it."""
