"""Qwen3-VL's processor made offline: NVIDIA's own, of `nvidia/Cosmos-Reason2-2B`, may only be had with a licence.

Images are treated as there. A token is a byte, so that texts are longer and tokenising is no more work than there.
"""

from pathlib import Path
from typing import Any

# GR00T knows its backbone by such a path.
NAME = "Qwen/Qwen3-VL-tiny"
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
# A user's message, its images before its text, in the manner of Qwen's models.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)
# As released Qwen3-VL models have it: images of at least 256 x 256 pixels.
IMAGES = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"shortest_edge": 256**2, "longest_edge": 4096**2},
}


def write_processor(folder: Path, **images: Any) -> Path:
    """Write the processor's files into a folder whose path ends with NAME.

    Args:
        folder: Made by this.
        images: Arguments of Qwen2VLImageProcessorFast, beside those of IMAGES.
    """
    from transformers import Qwen2VLImageProcessorFast, Qwen3VLProcessor, Qwen3VLVideoProcessor

    frames, films = Qwen2VLImageProcessorFast(**{**IMAGES, **images}), Qwen3VLVideoProcessor()
    Qwen3VLProcessor(frames, make_tokenizer(), films, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def make_tokenizer() -> Any:
    """A token for each byte, and the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )
