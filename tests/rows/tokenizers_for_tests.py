"""Small tokenizers of each kind that models have, trained in a moment and saved as a model's folder has them."""

import json
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

EOS, BOS = "<|endoftext|>", "<s>"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
WORDS = (
    *("census", "population", "Tokyo", "Osaka", "household", "the", "of", "in", "is", "was", "what", "many", "how"),
    *("people", "Japan", "according", "year", "don't", "it's", "we'll", "I'm", "1995", "2020", "13,960,000", "3.5%"),
    *("(total)", "[a]", "{b}", "https://x.y/z?q=1", "def", "f(x):", "return"),
)
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{- message['content'] + '<|im_end|>' -}}{% endgeneration %}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
UNMARKED = CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")


def corpus(seed: int = 1, lines: int = 400) -> list[str]:
    """Lines of words in every kind of spacing, with some that are no ASCII."""
    rng = Random(seed)
    gaps = [" ", " ", " ", "  ", "\n", "\n\n", " \n", "\t", ", ", ". ", "", "\n    ", "! ", "-"]
    made = ["".join(rng.choice(WORDS) + rng.choice(gaps) for _ in range(rng.randint(1, 30))) for _ in range(lines)]
    return [*made, "東京の人口は？ naïve café — “quoted” 🗾", " leading", "trailing ", "\n", "a\xa0b", "x\x1fy\x0bz"]


def byte_level() -> Tokenizer:
    """GPT-2's way."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _trained(made)


def split_then_bytes(pattern: str = QWEN) -> Tokenizer:
    """Qwen's and Llama 3's way."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return _trained(made)


def digits_then_bytes() -> Tokenizer:
    """SmolLM2's way."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return _trained(made)


def with_begin() -> Tokenizer:
    """Llama 3's way of putting a token before every text."""
    made = split_then_bytes(LLAMA3)
    made.add_special_tokens([BOS])
    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, made.token_to_id(BOS))]
    )
    return made


def marked_spaces() -> Tokenizer:
    """Llama 2's, Phi-3's and Mistral's way: no pre-tokenizer, bytes for what the vocabulary lacks."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁*[^▁\n\t]+|\n+|\t+|▁+"), "isolated")
    made.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=["<unk>", BOS, EOS, *(f"<0x{byte:02X}>" for byte in range(256))],
            show_progress=False,
        ),
    )
    spec = json.loads(made.to_str())
    spec["pre_tokenizer"] = None
    spec["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    made = Tokenizer.from_str(json.dumps(spec))
    made.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    made.decoder = decoders.Fuse()
    return made


KINDS = {
    "byte level": byte_level,
    "Qwen's split": split_then_bytes,
    "digits alone": digits_then_bytes,
    "a token before": with_begin,
    "marked spaces": marked_spaces,
}


def save(tokenizer: Tokenizer, folder: Path, template: str | None = CHAT_TEMPLATE) -> Path:
    """As a model's folder has it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": EOS, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _trained(made: Tokenizer) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[EOS, "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(corpus(), trainer)
    made.decoder = decoders.ByteLevel()
    return made
