"""GRPO as one visible step on the six functions of `rl.grpo`; `rl.trainer` runs the same in TRL.

Shapes as in `rl.grpo`: P prompts with G rollouts each make B rollouts of T tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, TypeAlias

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import GenerationConfig, get_scheduler

from medr1_lib.data.styles import user_turn
from medr1_lib.errors import InputError
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor as Processor
from medr1_lib.rl.generation import packed_inputs, packed_outputs, sample_group
from medr1_lib.rl.grpo import group_advantages, grpo_loss, token_logps, token_weights
from medr1_lib.rl.rewards import RewardFunction

Rewards: TypeAlias = Sequence[RewardFunction]
Adapted: TypeAlias = Any  # a Qwen2-VL with a LoRA adapter
Inputs: TypeAlias = Any  # what its processor makes of a batch
Config: TypeAlias = Any  # TRL's `GRPOConfig`, of whose many settings those are read that stand here


def grpo_step(
    task: "Task", optimizer: torch.optim.Optimizer, iterations: int = 1
) -> dict[str, Any]:
    """Sample, score, compare, and update `iterations` times on the same rollouts.

    Returns the mean `reward`, and of each update `loss` and `grad_norm`. Built in chapter 05.
    """
    tokens, mask = task.sample()  # [B, T]
    rewards = task.score(tokens)  # [B]
    advantages = group_advantages(rewards, task.num_generations)  # [B]
    weights = token_weights(mask, task.loss_type, task.max_completion_length)  # [B, T]
    reference = task.reference_logps(tokens, mask)  # [B, T]
    old = None
    losses, norms = [], []
    for _ in range(iterations):
        logps = task.logps(tokens, mask)  # [B, T]
        old = logps.detach() if old is None else old
        loss = grpo_loss(logps, old, reference, advantages, weights, task.clip, task.beta)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(task.weights, task.max_norm)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return {"reward": rewards.mean().item(), "loss": losses, "grad_norm": norms}


class Task:
    """What a step needs of policy, `train.grpo_rows` and rewards, as some of TRL's settings say."""

    def __init__(
        self, policy: Adapted, processor: Processor, rows: Dataset, rewards: Rewards, config: Config
    ) -> None:
        self.policy, self.processor, self._rewards, self.config = policy, processor, rewards, config
        self.num_generations, self.max_norm = config.num_generations, config.max_grad_norm
        self.max_completion_length = config.max_completion_length
        self.loss_type, self.clip, self.beta = config.loss_type, config.epsilon, config.beta
        self.weights = [weight for weight in policy.parameters() if weight.requires_grad]
        prompts = config.per_device_train_batch_size // self.num_generations
        if len(rows) < prompts:
            problem = f"{len(rows)} questions are left, and a batch takes {prompts}"
            raise InputError("grpo_loop", problem, "use more questions or a smaller batch")
        starts = range(0, len(rows) - prompts + 1, prompts)  # of full batches
        self._batches = (rows[at : at + prompts] for at in cycle(starts))

    def sample(self) -> tuple[Tensor, Tensor]:
        """G rollouts of each of the next prompts, and their mask, [B, T]."""
        self._batch = next(self._batches)
        self._inputs = encode(self.processor, self._batch)
        return sample(self.policy, self.processor, self._inputs, self.config)

    def score(self, tokens: Tensor) -> Tensor:
        """The sum of the rewards of each rollout, [B]."""
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        answers = [answer for answer in self._batch["answer"] for _ in range(self.num_generations)]
        scores = [score(completions=texts, answer=answers) for score in self._rewards]
        return torch.tensor(scores).sum(0)

    def logps(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of each token, [B, T]; the prompt is read once for its group."""
        keep = self.num_generations * tokens.shape[1]  # of a row: the prompt's own need no logits
        packed = packed_inputs(self.policy, self._inputs, tokens, mask)
        logits = packed_outputs(self.policy(**packed, logits_to_keep=keep).logits, tokens)
        return token_logps(logits, tokens, self.config.temperature)

    @torch.no_grad()
    def reference_logps(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The same under the model that training began with: the adapter switched off, [B, T]."""
        with self.policy.disable_adapter():
            return self.logps(tokens, mask)


def grpo_loop(task: Task) -> Iterator[dict[str, Any]]:
    """Train the adapter of a policy, and say after each step what `grpo_step` found."""
    config = task.config
    optimizer = torch.optim.AdamW(task.weights, config.learning_rate, weight_decay=0.0)
    warmup = config.get_warmup_steps(config.max_steps)
    schedule = get_scheduler(config.lr_scheduler_type, optimizer, warmup, config.max_steps)
    for _ in range(config.max_steps):
        yield grpo_step(task, optimizer, config.num_iterations)
        schedule.step()


def encode(processor: Processor, batch: Mapping[str, list[Any]]) -> Inputs:
    """The prompts of a batch, with their images, as the model reads them."""
    turns: Any = [user_turn(turn[0]["content"]) for turn in batch["prompt"]]
    chats = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return processor(text=chats, images=batch["image"], padding=True, return_tensors="pt")


def sample(
    policy: Adapted, processor: Processor, inputs: Inputs, config: Config
) -> tuple[Tensor, Tensor]:
    """G rollouts of each prompt, [B, T], and 1 at each token up to and with its end, [B, T]."""
    # What is left out, `generate` takes from the model's own settings. With Qwen2-VL's (temperature
    # 0.01, top_k 1) all rollouts of a group would be the same; `load_policy` drops them, too.
    drawn = {"temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k}
    drawn["suppress_tokens"] = [processor.image_token_id]  # one that is not there has no features
    room = config.max_completion_length
    how = GenerationConfig(do_sample=True, max_new_tokens=room, **drawn)
    tokens = sample_group(policy, inputs, config.num_generations, how)
    ended = (tokens == processor.tokenizer.eos_token_id).long()
    return tokens, (ended.cumsum(1) - ended == 0).long()
