"""Small random checkpoints in Hugging Face layout, with nothing left at zero or one, and texts to try them on."""

import json
import random

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = "the a cat sat on Mat 2005 in Paris and said that 14,000 people's homes were not reBuilt , . !"
AWKWARD = [
    "",
    " ",
    "São Paulo, naïve café, Ångström, Straße, İstanbul",
    "日本語のテキスト 中文字符 한국어 문장",
    "😀 👩‍👩‍👧 ok 🇯🇵 x\u200by",
    "tabs\tand\nlines\r\nand\xa0spaces\u3000wide  double",
    "trailing space ",
    " leading space",
    "In 2005 it was $1,234,567.89 (10.5%) at 12:30, 1234567890.",
    "I'm you're WE'LL don't DON'T 'tis rock'n'roll ``quoted''",
    "e\u0301 combining, \ufb01 ligature, ½, Ⅳ, ﹪, ™",
    "control \x00\x01\x7f \ufffd \xad soft \ufeff bom",
    "http://example.com/a_b?c=d&e#f user@example.org @@ ## ##ing",
    "a" * 150 + " " + "é" * 101,
    "\u2014\u2013\u2018\u2019\u201c\u201d\u2026\xb7\u2022\xbf\xa1",
    "العربية עברית हिन्दी ไทย",
    "very long " * 120,
]


def awkward_rows(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return rows of one or two texts, mixed from awkward and ordinary pieces."""
    choose = random.Random(seed)
    words = WORDS.split()

    def text() -> str:
        pieces = [choose.choice([" ", ""]).join(choose.choices(words, k=choose.randint(0, 60)))]
        pieces += choose.sample(AWKWARD, k=choose.choice([0, 1, 1, 2]))
        choose.shuffle(pieces)
        return choose.choice(["", " "]).join(pieces)

    rows = [(text(), text()) if choose.random() < 0.8 else (text(),) for _ in range(count)]
    return [*((text,) for text in AWKWARD), *((a, b) for a in AWKWARD for b in AWKWARD[:4]), *rows]


def save_word_pieces(directory, texts, **settings) -> int:
    """Train a WordPiece vocabulary, save it as BERT's tokenizer, return its size."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=settings.get("do_lower_case", True))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # A small alphabet, so that some characters are unknown.
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, limit_alphabet=90)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    (directory / "vocab.txt").write_text("".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.get)), "utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **settings}))
    return len(vocabulary)


def save_byte_pairs(directory, texts) -> int:
    """Train byte pairs, save them as RoBERTa's `vocab.json` and `merges.txt`, return the vocabulary's size."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.model.save(str(directory))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    return tokenizer.get_vocab_size()


def save_unigram(directory, texts, model_type: str, whole: bool = False) -> int:
    """Train a unigram model and save it for XLM-RoBERTa or ALBERT, return the size of the vocabulary."""
    import sentencepiece

    albert = model_type == "albert"
    path = directory / ("spiece" if albert else "sentencepiece.bpe")
    ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3} if albert else {"unk_id": 0, "bos_id": 1, "eos_id": 2}
    pieces = {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "control_symbols": "[MASK]"} if albert else {}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text[:1000] for text in texts if text.strip() and "\x00" not in text]),
        model_prefix=str(path),
        vocab_size=300,
        character_coverage=0.98,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
        **pieces,
    )
    path.with_name(path.name + ".vocab").unlink()
    cls = transformers.AlbertTokenizer if albert else transformers.XLMRobertaTokenizer
    size = sentencepiece.SentencePieceProcessor(model_file=f"{path}.model").vocab_size() + (0 if albert else 2)
    if whole:
        cls.from_pretrained(directory).save_pretrained(directory)
        path.with_name(path.name + ".model").unlink()
    return size


def save_model(cls, config, directory, **options):
    """Save a model whose every weight is random, LayerNorm and token types included, and return it in eval mode."""
    generator = torch.Generator().manual_seed(1)
    model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            gain = 1.0 if name.lower().endswith("norm.weight") else 0.0
            parameter.copy_(gain + 0.2 * noise)
    model.save_pretrained(directory, **options)
    return model


def config(model_type: str, vocabulary_size: int, **changes):
    """Return a config of two layers, two heads and width 32."""
    cls = transformers.AutoConfig.for_model(model_type).__class__
    if model_type == "distilbert":
        sizes = {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64}
    else:
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
        sizes["layer_norm_eps"] = 1e-3  # far from what the classes fix, so that ignoring it shows
    if model_type == "albert":
        sizes |= {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
    return cls(vocab_size=vocabulary_size, max_position_embeddings=140, **sizes | changes)
