"""What stands between text, images and the model: the tokenizer and an image-only processor."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessorPil, Qwen2VLProcessor
from transformers.processing_utils import ProcessorMixin

from medr1_lib.data.phantom_vqa import ATTRIBUTES, STEMS, values
from medr1_lib.data.question import LETTERS, MODALITIES
from medr1_lib.data.styles import STYLES, prompt

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ASK_CAPTION = "Describe the image."
PIXELS = 112
PATCH = 14
VOCABULARY = 640  # bytes, the words of the prompts, and a few pieces for words never met

# A separator keeps its space, so that a word is the same token at the start of a list and in it.
_WORDS = Regex(r", |: | ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")

# Qwen2-VL's turns without its system prompt, which would be a fifth of a prompt of 60 tokens.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}\
{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """Qwen2-VL's processor without its video half, which cannot be loaded without torchvision.

    Reads any directory of a Qwen2-VL processor. `AutoProcessor` does not know the class: hand it
    to a trainer as `processing_class`.

    Example:
        >>> tiny = tiny_processor()
        >>> tiny.tokenizer.tokenize("A)liver, B)soft tissue window")
        ['A', ')', 'liver', ',Ġ', 'B', ')', 'soft tissue window']
    """

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


def phrases() -> list[str]:
    """Every answer of PhantomMedVQA, modalities first, each once."""
    answers = [
        text
        for question_type in ATTRIBUTES
        for modality in MODALITIES
        for text in values(modality, question_type)
    ]
    return list(dict.fromkeys([*MODALITIES, *answers]))


def corpus() -> Iterable[str]:
    """The prompts and the names of the attributes: the words that the model meets every day."""
    stems = [stem for pair in STEMS.values() for stem in pair]
    for style in STYLES:
        for stem in stems:
            yield prompt(stem, ("", "", "", ""), style)
    yield from (f"{name}: {name}, " for name in STEMS for _ in range(9))
    yield from (ASK_CAPTION, "user\n", "assistant\n") * 9


def tiny_processor() -> ImageOnlyQwen2VLProcessor:
    """Build the processor of the tiny model: nothing is read, the same bytes every time.

    The tokenizer is a byte-level BPE like Qwen2-VL's, so that any text can be asked. The tags, the
    letters and the answers of PhantomMedVQA are one token each: a letter is then the same token in
    front of an option and in an answer, and a short completion is cheap to sample.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    bpe.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    words = [*LETTERS, *phrases()]
    bpe.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in words])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2},
    )
    return ImageOnlyQwen2VLProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE)
