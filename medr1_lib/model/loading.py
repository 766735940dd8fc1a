"""Load a Qwen2-VL from a local directory: the tiny one, a large one, or an adapter on either."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    GenerationConfig,
    Idefics3Processor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
)
from transformers.processing_utils import ProcessorMixin

from medr1_lib.errors import InputError, refusing
from medr1_lib.files import changed, read_json, sha256, whole_folder

if TYPE_CHECKING:  # peft and bitsandbytes take seconds to import, and most runs need neither
    from peft import PeftModel


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """Reads any directory of a Qwen2-VL processor, and needs no torchvision.

    `AutoProcessor` does not know the class: hand it to a trainer as `processing_class`.
    """

    # The base class cannot be made without a video processor, and that one only with torchvision,
    # whose wheel needs CUDA. transformers reads the parts of a processor off this signature.
    def __init__(
        self,
        image_processor: Qwen2VLImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
        chat_template: str | None = None,
        **kwargs: object,
    ) -> None:
        assert tokenizer is not None  # the base class wants a default for every part
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class ImageOnlyQwen3VLProcessor(Qwen3VLProcessor):
    """As `ImageOnlyQwen2VLProcessor`, for Qwen3-VL."""

    __init__ = ImageOnlyQwen2VLProcessor.__init__


# What reads the prompts and images of each kind of model. That of SmolVLM reads videos as well, and
# wants torchvision for it; its images are read like those of Idefics3.
PROCESSORS: dict[str, Any] = {
    "qwen2_vl": ImageOnlyQwen2VLProcessor,
    "qwen2_5_vl": ImageOnlyQwen2VLProcessor,
    "qwen3_vl": ImageOnlyQwen3VLProcessor,
    "smolvlm": Idefics3Processor,
    "idefics3": Idefics3Processor,
    "gemma3": AutoProcessor,
    "llava": AutoProcessor,
}
VIDEO = ("llava_onevision", "internvl", "llava_next_video", "qwen3_5")  # need torchvision
# Full paths: "visual" alone matches nothing, and the tower would be quantized. Without "lm_head",
# the head would be, and it shares its weights with the embedding. All but the first are not Qwen's.
NOT_QUANTIZED = ["model.visual", "lm_head", "model.vision_model", "model.vision_tower"]
NOT_QUANTIZED += ["model.connector", "model.multi_modal_projector"]
LANGUAGE = ("model.language_model.", "model.text_model.")  # what is quantized, under either name

AGAIN = "copy or download the model again"
DECIDES = {".safetensors", ".json", ".jinja", ".txt", ".model"}  # suffixes of a model's files
ROOT = Path(__file__).parents[2]  # of the repository, where recipes name their models

Policy: TypeAlias = "PreTrainedModel | PeftModel"
Quantized: TypeAlias = Literal["nf4", "nf4-unpacked"]  # the second is `unpack`ed to be trained


def load_policy(
    path: Path,
    quantize: Quantized | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    trainable: bool = False,
) -> tuple[Policy, ImageOnlyQwen2VLProcessor]:
    """Load a model of one of `PROCESSORS`, or a LoRA adapter on one, and its processor.

    With `quantize` the language model's linear layers take 4 bits (QLoRA, Dettmers et al. 2023).
    `device` is the GPU if torch finds one, else the CPU; `"auto"` spreads the model over all GPUs.
    `dtype`, of what is not quantized, is float32 on a CPU, bfloat16 on a GPU; one without bfloat16
    (T4) takes float32, and multiplies 4-bit weights in float16. Raises an `InputError` if the
    directory is missing, incomplete, damaged or of another architecture.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    # Accelerate says cpu:0. Not torch's own `is_bf16_supported`, which counts a slow emulation.
    on_cpu = device.startswith("cpu") or (device == "auto" and not torch.cuda.is_available())
    old = not on_cpu and torch.cuda.get_device_capability()[0] < 8
    dtype = dtype or (torch.float32 if on_cpu or old else torch.bfloat16)
    base = base_directory(path)
    # In float16 throughout, activations of Qwen2 overflow: what layers pass on stays in float32.
    model = _load_model(base, quantize, device, dtype, torch.float16 if old else dtype)
    remedy = "copy the tokenizer and preprocessor files of the model into it"
    named = base / "tokenizer_config.json"
    if not read_json(named, remedy).get("tokenizer_class"):  # another one would be guessed
        raise InputError(named, "names no tokenizer_class", remedy)
    with refusing(base, "its processor cannot be read", remedy):
        kind = PROCESSORS[model.config.model_type]
        processor = kind.from_pretrained(base, local_files_only=True)
    if processor.chat_template is None:
        raise InputError(base, "has no chat template", "copy chat_template.json or .jinja into it")
    remedy = "copy chat_template.json or .jinja again"
    with refusing(base, "its chat template cannot be read", remedy), _ending():
        asked: list[Any] = [{"type": "image"}, {"type": "text", "text": "?"}]
        turns: Any = [[{"role": "user", "content": content}] for content in (asked, asked[1:])]
        shown, blind = processor.apply_chat_template(turns, add_generation_prompt=True)
        if shown == blind:
            raise ValueError("it leaves out the image")
    processor.tokenizer.padding_side = "left"  # so that every row of a batch ends where it goes on
    # Qwen ships temperature 0.01 and top_k 1 with its models, and `generate` mixes them into the
    # settings that it is given: all rollouts of a group would be the same.
    ends = model.generation_config.eos_token_id or processor.tokenizer.eos_token_id
    known, every = range(len(processor.tokenizer)), ends if isinstance(ends, list) else [ends]
    if any(type(one) is not int or one not in known for one in every):
        raise InputError(base, f"no token ends a completion (eos_token_id is {ends!r:.80})", AGAIN)
    padding = processor.tokenizer.pad_token_id
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=padding)
    return (model if base == path else _add_adapter(model, path, trainable)).eval(), processor


def quantize_in_training(path: Path) -> Literal["nf4"] | None:
    """How the base of an adapter was stored while it was trained, as the recipe beside it says."""
    return "nf4" if "nf4" in str(_noted(path, "recipe").get("quantize")) else None


def _noted(path: Path, name: str) -> dict[str, Any]:
    """What a run notes under this name, if the adapter lies in its folder."""
    recipe = path / "../recipe.json"
    inside = (path / "adapter_config.json").is_file() and recipe.is_file()
    found: Any = read_json(recipe, AGAIN).get(name) if inside else None
    return found if isinstance(found, dict) else {}


def base_directory(path: Path) -> Path:
    """The directory of the model itself: `path`, or what the adapter in it was trained on.

    What an adapter names is looked for from the working directory, the adapter's own and the
    repository's.
    """
    if not path.is_dir():
        raise InputError(path, "is not a directory", "give the directory of a model")
    config = path / "adapter_config.json"
    if not config.is_file():
        return path
    named: Any = read_json(config, AGAIN).get("base_model_name_or_path")
    with refusing(config, "its base model's name cannot be read", AGAIN):
        for base in (Path(named), path / named, ROOT / named) if named else ():
            if base.is_dir():
                return base
    remedy = "write the directory of that model into base_model_name_or_path"
    raise InputError(config, f"its base model {named!r} is not here", remedy)


def fingerprint(model: Path) -> str:
    """A hash of all files that decide a model's answers; of an adapter, those of its base too."""
    digest = hashlib.sha256()
    for folder in dict.fromkeys((model, base_directory(model))):
        found = (one for one in folder.rglob("*") if one.suffix in DECIDES and one.is_file())
        for file in sorted(found):
            digest.update(f"{file.relative_to(folder).as_posix()}\n".encode())
            digest.update(bytes.fromhex(sha256(file)))
    return digest.hexdigest()


def merge(path: Path, out: Path) -> None:
    """Write an adapter and its base as one model, in float32: no update is rounded away."""
    base = base_directory(path)
    if base == path:
        raise InputError(path, "is no adapter", "give the adapter/ of a run")
    with whole_folder(out) as unfinished:
        adapted: Any = load_policy(path, device="cpu", dtype=torch.float32)[0]
        with refusing(out, "cannot be written", "make room or choose another folder"):
            adapted.merge_and_unload().save_pretrained(unfinished)
            for file in base.iterdir():  # tokenizer, templates and processor
                known = (unfinished / file.name).exists() or file.name.endswith(".index.json")
                if file.suffix in (".json", ".jinja", ".txt") and not known:
                    shutil.copyfile(file, unfinished / file.name)


def unpack(model: nn.Module) -> None:
    """Hold 4-bit weights as the numbers that they stand for, which each pass would unpack anew."""
    from bitsandbytes.nn.modules import Linear4bit
    from peft.utils.integrations import dequantize_module_weight

    for name, layer in list(model.named_modules()):
        if isinstance(layer, Linear4bit):
            weight = dequantize_module_weight(layer).to(base_model(model).dtype)
            plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
            plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), layer.bias
            model.set_submodule(name, plain)


def shares_prompts(model: Any) -> bool:  # noqa: ANN401 - a model in any wrapping
    """Whether it is a Qwen, whose prompts are read once for many completions."""
    return hasattr(base_model(model).model, "get_rope_index")


def base_model(model: Any) -> Any:  # noqa: ANN401 - a model in any wrapping
    """The model inside an adapter and inside what parallel training wraps around a model."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def _load_model(
    path: Path, quantize: str | None, device: str, dtype: torch.dtype, compute: torch.dtype
) -> PreTrainedModel:
    file = path / "config.json"
    config = read_json(file, AGAIN)
    found = config.get("model_type")
    if not isinstance(found, str) or found not in PROCESSORS:
        wants = ", whose processor needs torchvision" * (found in VIDEO)
        remedy = f"use a model of {', '.join(PROCESSORS)}"
        raise InputError(file, f"model_type is {found!r}{wants}", remedy)
    if config.get("quantization_config"):
        remedy = "use the model as it was before, and quantize it to nf4 here"
        raise InputError(file, "its weights are quantized already", remedy)
    if "/" in str([config.get("_attn_implementation"), config.get("attn_implementation")]):
        raise InputError(file, "asks for a kernel from elsewhere", "remove its attn_implementation")
    if re.search(r'"(depth|num_hidden_layers)": \d{4}', json.dumps(config)):
        raise InputError(file, "asks for a thousand layers or more", AGAIN)
    settings: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    settings["device_map"] = device if device == "auto" else {"": device}
    # No pickle, whatever the directory holds.
    settings |= {"use_safetensors": True, "attn_implementation": "sdpa", "local_files_only": True}
    if quantize:
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
            llm_int8_skip_modules=NOT_QUANTIZED,
        )
    with refusing(path, "its weights cannot be read", AGAIN):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(path, **settings)
    model, info = loaded
    if info["missing_keys"]:
        problem = f"lacks {len(info['missing_keys'])} weights, {min(info['missing_keys'])} first"
        raise InputError(path, problem, AGAIN)
    if quantize:
        _check_quantized(model)
    return model


def _add_adapter(model: PreTrainedModel, path: Path, trainable: bool) -> "PeftModel":
    from peft import PeftModel, get_peft_model_state_dict

    remedy = "copy the adapter again, or train it again"
    with refusing(path, "its adapter cannot be read", remedy):
        if lost := changed(path, _noted(path, "finished").get("adapter_sha256", {})):
            raise ValueError(f"{lost[0]} is not what its run has written")
        with safe_open(path / "adapter_model.safetensors", "pt") as file:
            found = set(file.keys())
        how: dict[str, Any] = {"local_files_only": True, "is_trainable": trainable}
        adapted = PeftModel.from_pretrained(model, path, **how)
        # peft takes what fits and leaves the rest: the bare base would pass for the adapter.
        odd = found ^ get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    if odd:
        problem = f"{len(odd)} of its weights are missing or fit nothing, {min(odd)} first"
        raise InputError(path, problem, remedy)
    return adapted


def _check_quantized(model: PreTrainedModel) -> None:
    from bitsandbytes.nn.modules import Linear4bit

    four_bit = {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit)}
    linear = {name for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    wanted = {name for name in linear if name.startswith(LANGUAGE)}
    if not wanted or set(four_bit) != wanted:
        raise RuntimeError(f"quantized by mistake or not at all: {set(four_bit) ^ wanted}")
    # On a CPU with AVX512_BF16 bitsandbytes packs the weights anew at the first evaluation, into a
    # form without a gradient; training after it fails or, worse, stands still.
    for layer in four_bit.values():
        layer.support_avx512bf16_for_cpu = False


@contextmanager
def _ending() -> Iterator[None]:
    """Stop a template without an end after a million lines of Python; one takes hundreds."""
    steps, before = count(), sys.gettrace()

    def trace(*_: object) -> Any:  # noqa: ANN401 - itself, as `sys.settrace` wants it
        if next(steps) > 10**6:
            raise TimeoutError("it has no end")
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
