"""The published pre-tokenisers, as the package `tokenizers` is told of them.

Each is what the tokenizer.json files of its models say, by the name that GGUF files use.
"""

from tokenizers import Regex, normalizers, pre_tokenizers

SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
QWEN35 = (SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
          + SPACES)
GPT4O_WORDS = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
               r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
               r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
               r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?")
GPT4O = GPT4O_WORDS + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES
TEKKEN = GPT4O.replace(SHORT + "?", "").replace(r"\p{N}{1,3}", r"\p{N}")
KIMI = (r"[\p{Han}]+|" + GPT4O_WORDS.replace(r"\p{M}]", r"\p{M}&&[^\p{Han}]]")
        + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
JAIS2 = LLAMA3.replace(
    r"\s+(?!\S)|\s+",
    "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
    + r"|\s{1,2}(?!\S)|\s{1}")
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
           r"|\s*[\r\n]|\s+(?!\S)|\s+")
SEED = (SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + SPACES)
EXAONE_MOE = (SHORT + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+")
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"
               r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES)
HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK_HAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_CASED = (
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF"
    "\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1"
    "\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5"
    "\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A"
    "\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D"
    "\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3"
    "\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115"
    "\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149"
    "\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D"
    "\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06"
    "\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F\U000104B0-\U000104D3"
    "\U000104D8-\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2\U000118A0-\U000118DF"
    "\U0001E900-\U0001E943")
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
SPARK = DEEPSEEK_V3.replace(r"[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+", r"[\p{P}\p{S}]+|[\r\n]")
AFMOE_SCRIPTS = (r"(?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF"
                 r"\uFF65-\uFF9F\u2F00-\u2FDF]+|[\u0E00-\u0E7F]+|[\u0E80-\u0EFF]+|[\u1780-\u17FF]+"
                 r"|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+|[\uAC00-\uD7AF\u1100-\u11FF]+)")
AFMOE = (r"\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510}",
         r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)", r"\A\p{Nd}{3}|\G\p{Nd}{3}", AFMOE_SCRIPTS, DEEPSEEK_V3)
YOUTU = ("[\uac00-\ud7a3\u3131-\u318e]+|"
         "[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f"
         "\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + HAN_KANA)

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def cut(*patterns, digits=False):
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence(splits + [DIGITS] * digits + [BYTES])


NFC = normalizers.NFC()

# One name for each set of rules.
RULES = {
    "gpt-2": (None, GPT2),
    "olmo": (NFC, GPT2),
    "starcoder": (None, pre_tokenizers.Sequence([DIGITS, GPT2])),
    "command-r": (NFC, pre_tokenizers.Sequence([DIGITS, GPT2])),
    "chameleon": (None, pre_tokenizers.Sequence([
        *(pre_tokenizers.Split(Regex(p), "isolated") for p in (
            "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )")),
        DIGITS, pre_tokenizers.Punctuation("isolated"), GPT2])),
    "falcon": (None, pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), GPT2,
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])),
    "qwen2": (NFC, cut(QWEN2)),
    "qwen35": (NFC, cut(QWEN35)),
    "stablelm2": (None, cut(QWEN2)),
    "dbrx": (None, cut(LLAMA3)),
    "llama-bpe": (None, cut(LLAMA3)),
    "laguna": (None, cut(r"[^\n]+|[\n]+", QWEN2)),
    "minicpm5": (None, cut(r"\p{N}{1,3}", QWEN2.replace(r"|\p{N}|", r"|\p{N}+|"))),
    "bailingmoe": (None, cut(BAILING)),
    "seed-coder": (None, cut(SEED)),
    "exaone-moe": (None, cut(EXAONE_MOE)),
    "jais-2": (None, cut(JAIS2)),
    "gpt-4o": (None, cut(GPT4O)),
    "granite-embed-multi-97m": (None, cut(GPT4O)),
    "tekken": (None, cut(TEKKEN)),
    "tiny_aya": (None, cut(r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O)),
    "youtu": (None, cut(YOUTU, GPT4O.replace(r"\p{N}{1,3}", r"\p{N}"))),
    "kimi-k2": (None, cut(KIMI)),
    "deepseek-llm": (None, cut(
        "[\r\n]", rf"\s?[{DEEPSEEK_CASED}]+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", DEEPSEEK_HAN,
        digits=True)),
    "deepseek-coder": (None, cut("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_HAN, digits=True)),
    "deepseek-v3": (None, cut(r"\p{N}{1,3}", HAN_KANA, DEEPSEEK_V3)),
    "spark2_5": (None, cut(r"\p{N}{1,3}", HAN_KANA, SPARK, r"\p{N}")),
    "afmoe": (None, cut(*AFMOE)),
    "superbpe": (None, cut(r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    "ufakzeka": (None, cut(QWEN2.replace(SHORT + "|", ""))),
    "bloom": (None, cut(BLOOM)),
    "viking": (None, cut(BLOOM, r"\p{N}")),
}
# Tokens that are spelled as they are: by the model, and its rules.
PLAIN = {
    "gemma4": (normalizers.Replace(" ", "\u2581"),
               pre_tokenizers.Split(" ", "merged_with_previous")),
    "whitespace": (normalizers.Lowercase(), pre_tokenizers.Whitespace()),
}
# A word that is a token is taken whole.
WHOLE_WORDS = {"llama-bpe", "minicpm5", "granite-embed-multi-97m", "tekken", "youtu"}
# What some rules look for, beside words.
SPELLED = {"superbpe": ["1234567", "12\u00bd345", "1234\u00bd67", "123456\u2167"],
           "afmoe": ["1234567", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
                     "\uac00\u4e2d\u1780", "\ufa11\ua960"],
           "chameleon": ["<sentinel:7", "<sentinel:70>", "IMGIMGABZ", "IMGIMGABCDEZ", "IMGIMGZ"]}
