"""GRPO as one visible loop on the six functions of `rl.grpo`; `rl.trainer` runs the same in TRL.

Shapes as in `rl.grpo`: P prompts with G rollouts each make B rollouts of T tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import GenerationConfig

from medr1_lib.data.styles import user_turn
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor
from medr1_lib.rl.generation import completion_inputs, prefill, sample_group
from medr1_lib.rl.grpo import group_advantages, grpo_loss, token_logps, token_weights
from medr1_lib.rl.rewards import RewardFunction

Policy: TypeAlias = Any  # a Qwen2-VL with a LoRA adapter
Inputs: TypeAlias = Any  # what its processor makes of a batch
Config: TypeAlias = Any  # TRL's `GRPOConfig`, of whose many settings those are read that stand here


def grpo_loop(
    policy: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    rows: Dataset,
    rewards: Sequence[RewardFunction],
    config: Config,
) -> Iterator[dict[str, Any]]:
    """Train the adapter of `policy` on `grpo_rows`, and say after each step what it earned."""
    groups = config.per_device_train_batch_size // config.num_generations
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=0.0)
    for step in range(config.max_steps):
        batch = rows[step * groups : (step + 1) * groups]
        inputs = encode(processor, batch)
        tokens, mask = sample(policy, processor, inputs, config)
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        answers = [answer for answer in batch["answer"] for _ in range(config.num_generations)]
        earned = torch.tensor([score(completions=texts, answer=answers) for score in rewards])
        loss = rollout_loss(policy, inputs, tokens, mask, earned.sum(0), config)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(trained, config.max_grad_norm)
        optimizer.step()
        yield {"loss": loss.item(), "grad_norm": norm.item(), "rewards": earned.mean(1).tolist()}


def encode(processor: ImageOnlyQwen2VLProcessor, batch: Mapping[str, list[Any]]) -> Inputs:
    """The prompts of a batch, with their images, as the model reads them."""
    turns: Any = [user_turn(turn[0]["content"]) for turn in batch["prompt"]]
    chats = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return processor(text=chats, images=batch["image"], padding=True, return_tensors="pt")


def sample(
    policy: Policy, processor: ImageOnlyQwen2VLProcessor, inputs: Inputs, config: Config
) -> tuple[Tensor, Tensor]:
    """G rollouts of each prompt, [B, T], and 1 at each token up to and with its end, [B, T]."""
    # What is left out, `generate` takes from the model's own settings. With Qwen2-VL's (temperature
    # 0.01, top_k 1) all rollouts of a group would be the same; `load_policy` drops them, too.
    how = GenerationConfig(
        do_sample=True,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_completion_length,
        suppress_tokens=[processor.image_token_id],  # an image that is not there has no features
    )
    tokens = sample_group(policy, inputs, config.num_generations, how)
    ended = (tokens == processor.tokenizer.eos_token_id).long()
    return tokens, (ended.cumsum(1) - ended == 0).long()


def logps(policy: Policy, inputs: Inputs, tokens: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Log-probability of each token, [B, T]; the prompt is read once for its group."""
    owner = torch.arange(len(tokens)) // config.num_generations
    shared = completion_inputs(prefill(policy, inputs), tokens, mask, owner)
    return token_logps(policy(**shared).logits, tokens, config.temperature)


def rollout_loss(
    policy: Policy, inputs: Inputs, tokens: Tensor, mask: Tensor, rewards: Tensor, config: Config
) -> Tensor:
    """The loss of freshly sampled rollouts, whose old policy is the policy itself."""
    advantages = group_advantages(rewards, config.num_generations)
    with torch.no_grad(), policy.disable_adapter():
        reference = logps(policy, inputs, tokens, mask, config)
    now = logps(policy, inputs, tokens, mask, config)
    weights = token_weights(mask, config.loss_type, config.max_completion_length)
    clip, beta, corrected = config.epsilon, config.beta, config.use_bias_correction_kl
    return grpo_loss(now, now.detach(), reference, advantages, weights, clip, beta, corrected)
