"""A decoding step for a GPU, recorded as a CUDA graph and played again for each token.

A step of a 2B model is 3,000 kernels, and to start them from Python takes ten times as long as to
run them; a recording is one start of the same kernels.
"""

import math
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StaticCache, StoppingCriteriaList

from medr1_lib.rl.generation import PromptCache, decode, next_hidden

Untyped: TypeAlias = Any  # as in `generation.decode_group`
BUCKET = 64  # a prompt gets a multiple of so many places, so that few recordings serve all lengths


def decode_recorded(
    model: Untyped,
    input_ids: Untyped,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    prompts: PromptCache,
    record: bool = True,
    **_: object,
) -> Tensor:
    """As `decode_group`, each completion in a row of its own behind a copy of its prompt."""
    rows, room = len(input_ids), generation_config.max_length - input_ids.shape[1]
    owner = torch.arange(len(prompts.last), device=input_ids.device)
    step = _step_for(model, rows, prompts.mask.shape[1], room, record)
    step.start(prompts, owner.repeat_interleave(rows // len(owner)))
    return decode(step, input_ids, logits_processor, stopping_criteria, generation_config)


class DecodingStep:
    """One token more for each of `rows` completions, in tensors that stay where they are.

    A row has so many `places` for keys and values; its completion begins at `start`, where its
    prompt ends. Only on a GPU is anything recorded, and not without `record`.
    """

    def __init__(
        self, model: Untyped, rows: int, places: int, start: int, record: bool = True
    ) -> None:
        self._model, self._start, device = model, start, model.device
        self._tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._position = torch.zeros(3, rows, 1, dtype=torch.long, device=device)
        self._mask = torch.zeros(rows, 1, 1, places, dtype=torch.bool, device=device)
        self._place = torch.full((1,), start, dtype=torch.long, device=device)
        self._cache = StaticCache(config=model.config.get_text_config(), max_cache_len=places)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = self._run()  # makes the cache
        if device.type == "cuda" and record:
            self._record()

    def start(self, prompts: PromptCache, owner: Tensor) -> None:
        """Put each row's prompt in front of it."""
        here = slice(self._start - prompts.mask.shape[1], self._start)
        layers: Any = zip(self._cache.layers, prompts.cache.layers, strict=True)
        for mine, read in layers:
            for whole, part in ((mine.keys, read.keys), (mine.values, read.values)):
                whole.zero_()  # what is masked weighs nothing, but nothing times NaN is NaN
                whole[:, :, here] = part.index_select(0, owner)
        self._mask.zero_()
        self._mask[:, 0, 0, here] = prompts.mask.bool()[owner]
        self._position.copy_(prompts.position[owner].expand(3, -1, -1))
        self._rewind()

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits of what follows these tokens, (rows, words); the next call overwrites them."""
        self._tokens.copy_(tokens)
        if self._graph is None:
            return self._run()
        self._graph.replay()
        return self._logits

    def _run(self) -> Tensor:
        self._mask.index_fill_(3, self._place, True)
        hidden = next_hidden(self._model, self._tokens, self._mask, self._position, self._cache)
        self._place += 1
        self._position += 1
        return self._model.lm_head(hidden[:, -1]).float()

    def _rewind(self) -> None:
        self._place.fill_(self._start)
        layers: Any = self._cache.layers
        for layer in layers:
            layer.cumulative_length.fill_(self._start)

    def _record(self) -> None:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(2):  # workspaces of the libraries come to be outside the recording
                self._rewind()
                self._run()
            self._rewind()
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        # A loader's thread may pin memory meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._logits = self._run()


def _step_for(model: Untyped, rows: int, length: int, room: int, record: bool) -> DecodingStep:
    """The step recorded before, if it fits and reads the weights where they are now.

    An optimizer changes an adapter in place, which a recording follows. It is kept on the model.
    """
    start = BUCKET * math.ceil(length / BUCKET)
    weights = tuple(weight.data_ptr() for weight in model.parameters())
    adapted = (layer for layer in model.modules() if hasattr(layer, "lora_A"))
    active = tuple((layer.disable_adapters, *layer.active_adapters) for layer in adapted)
    # Tensors made in inference mode cannot be written outside of it.
    wanted = rows, start + room, weights, active, record, torch.is_inference_mode_enabled()
    own: Any = vars(model)
    kept, step = own.pop("_recorded_step", (None, None))
    if kept != wanted:
        step = None  # its memory is free before the next one takes its own
        step = DecodingStep(model, rows, start + room, start, record)
    own["_recorded_step"] = wanted, step
    return cast(DecodingStep, step)
