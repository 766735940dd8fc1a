"""Qwen's processors for images and text, without the half for videos."""

from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
)
from transformers.processing_utils import ProcessorMixin


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
