"""A model of llama's architecture with a few thousand random weights: real enough for llama.cpp and the trainer."""

from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, KEY_HEADS, FEED_WIDTH, MAX_TOKENS = 32, 3, 4, 2, 48, 2048
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_tiny_model(
    path: Path, *, architecture: str = "llama", seed: int = 0, begins: bool = False, rope_factor: float | None = None
) -> Path:
    """Write a GGUF file with random weights, every byte as a token, and a chat template; of llama's architecture, or of
    `qwen2`, which has biases as well. `begins`: with a token at the beginning of each text."""
    rng = np.random.default_rng(seed)
    tokens = [*_bytes_as_text(), "th", *SPECIAL]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(MAX_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    special = [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_token_types([*[gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL)), *special])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(begins)
    if rope_factor:
        writer.add_rope_scaling_factor(rope_factor)
    writer.add_chat_template(TEMPLATE)

    def matrix(name: str, outputs: int, inputs: int) -> None:
        writer.add_tensor(f"{name}.weight", rng.normal(0, 1 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", rng.uniform(0.5, 1.5, WIDTH).astype(np.float32))

    matrix("token_embd", len(tokens), WIDTH)
    norm("output_norm")
    key_width = WIDTH // HEADS * KEY_HEADS
    for layer in range(LAYERS):
        norm(f"blk.{layer}.attn_norm")
        matrix(f"blk.{layer}.attn_q", WIDTH, WIDTH)
        matrix(f"blk.{layer}.attn_k", key_width, WIDTH)
        matrix(f"blk.{layer}.attn_v", key_width, WIDTH)
        if architecture == "qwen2":
            for name, width in (("attn_q", WIDTH), ("attn_k", key_width), ("attn_v", key_width)):
                writer.add_tensor(f"blk.{layer}.{name}.bias", np.zeros(width, np.float32))
        matrix(f"blk.{layer}.attn_output", WIDTH, WIDTH)
        norm(f"blk.{layer}.ffn_norm")
        matrix(f"blk.{layer}.ffn_gate", FEED_WIDTH, WIDTH)
        matrix(f"blk.{layer}.ffn_up", FEED_WIDTH, WIDTH)
        matrix(f"blk.{layer}.ffn_down", WIDTH, FEED_WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _bytes_as_text() -> list[str]:
    """Return the letters that GPT-2's vocabulary has for the 256 bytes, in the order of the bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(hidden)) for byte in range(256)]
