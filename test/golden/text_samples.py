"""Texts of many kinds to compare tokenisers over, and texts to train them on.  All of it
is made from seeds."""

import random
import unicodedata
from functools import lru_cache

from tokenizers import Regex, normalizers, pre_tokenizers

EVERY = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SPACES = " \t\n\r\v\f\u0085\u00a0\u1680\u2003\u2028\u202f\u205f\u3000\u180e\u200b"
LETTERS = "aeiostrnAEZ\u00e4\u00df\u0436\u03a9\u05d0\u0623\u0e01\u4e2d\u3042\uac00"
SIGNS = ("'\"!?.,;:-_<>|()[]{}#$%&*+/=@^`~\u2026\u2014\u00ab\u20ac\u0301\u200d\ufe0f\u2581"
         "\u3001\u3226")
DIGITS = "0123456789\u0663\u00b2\u2167\u4e00\uff15"
MARKS = ("\u0300\u0301\u0308\u0323\u0327\u0345\u05b0\u05bc\u064b\u0651\u093c\u09be\u0b57\u0ddf"
         "\u1161\u11a8\u3099\u302a\U0001d165")
COMPOSED = ("\u00e9\u1ec7\u212b\u0958\u1e9b\uac01\uac00\u1100\ufb1d\u0344\u1f82\U0001d15e"
            "\u0439\u304c\u0130")


def cuts(pattern):
    """The characters that the package's expressions take for this class."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for i in range(0, len(EVERY), 4096):
        for text, _ in split.pre_tokenize_str("".join(EVERY[i:i + 4096])):
            found.update(text)
    return found


def bert_signs():
    found = set()
    for piece, _ in pre_tokenizers.Punctuation("removed").pre_tokenize_str("".join(EVERY)):
        found.update(piece)
    return set(EVERY) - found


@lru_cache(None)
def known():
    """Characters that the references and we know in the same way, with those that neither
    knows; and how many are left out.  Realm's libraries have Unicode 14, as this Python
    has; the references' tables are partly newer and partly older."""
    category = {c: unicodedata.category(c) for c in EVERY}
    doubtful = set()
    for kind in ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "P", "S", "Z"):
        ours = {c for c in EVERY if category[c].startswith(kind)}
        doubtful |= cuts(rf"\p{{{kind}}}") ^ ours
    doubtful |= bert_signs() ^ {c for c in EVERY if category[c][0] == "P" or c in "$+<=>^`|~"}
    nfc, nfd = normalizers.NFC(), normalizers.NFD()
    clean = normalizers.BertNormalizer(True, False, False, False)
    strip = normalizers.BertNormalizer(False, False, True, False)
    for c in EVERY:
        if c in doubtful or category[c] in ("Cn", "Co"):
            continue  # assigned since: it has a class by now
        bare = "".join(d for d in unicodedata.normalize("NFD", c) if category[d] != "Mn")
        dropped = category[c] in ("Cc", "Cf", "Co") and c not in "\t\n\r" or c == "\ufffd"
        if (nfc.normalize_str(c) != unicodedata.normalize("NFC", c)
                or nfd.normalize_str(c) != unicodedata.normalize("NFD", c)
                or any(nfd.normalize_str(t) != unicodedata.normalize("NFD", t)
                       for t in (f"a\u0301{c}", f"a{c}\u0334"))  # its place among marks
                or strip.normalize_str(c) != bare
                or (clean.normalize_str(c) == "") != dropped):
            doubtful.add(c)
    by_category = {}
    for c in EVERY:
        if c not in doubtful:
            by_category.setdefault(category[c], []).append(c)
    return by_category, len(doubtful)


def kinds_of_parts(rng, tokens):
    by_category, _ = known()
    assigned = [c for kind, cs in by_category.items() if kind not in ("Cn", "Co") for c in cs]
    rare = by_category["Cn"] + by_category["Co"]
    scripts = list(by_category.values())
    return [
        lambda: rng.choice(assigned),
        lambda: rng.choice(rng.choice(scripts)),
        lambda: rng.choice(rare),
        lambda: rng.choice(SPACES),
        lambda: " " * rng.randint(1, 9),
        lambda: rng.choice(LETTERS) * rng.choice([1, 1, 1, 2, 3, 20]),
        lambda: rng.choice(SIGNS) * rng.choice([1, 1, 1, 2, 3, 20]),
        lambda: "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 9))),
        lambda: rng.choice("aZ\u00e4\u03b9\u0436\u0915\u1100\uac00\u3042") + "".join(
            rng.choice(MARKS) for _ in range(rng.randint(1, 4))),
        lambda: rng.choice(COMPOSED),
        lambda: rng.choice(["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'\u017f"]),
        lambda: rng.choice(["\n\n", "\r\n", "\n \n", "\n\t", "//", "\u2581\u2581"]),
        lambda: rng.choice(tokens),
        lambda: " " + rng.choice(tokens),
        lambda: chr(rng.randint(0x1F300, 0x1F64F)),
    ]


def random_texts(seed, tokens, n):
    """Any character, few characters, words, white space, long runs."""
    rng = random.Random(seed)
    kinds = kinds_of_parts(rng, tokens)
    yield from ("", " ", "\n", "a" * 5000, " " * 3000, "\U0001F600" * 500, "\u4e2d" * 700,
                "A" * 700 + "b", "7" * 1000, "e\u0301" * 300, "\u0301\u0323" * 300)
    for _ in range(n):
        some = rng.sample(kinds, rng.randint(1, len(kinds)))
        yield "".join(rng.choice(some)() for _ in range(rng.randint(1, 40)))


def training_texts(seed, n=1500):
    """Words of made-up languages, numbers, code and lists: enough of each that tokens come
    of them, and of what stands beside them."""
    rng = random.Random(seed)
    alphabets = [
        "etaoinshrdlu", "ETAOINSHR", "\u0435\u0430\u043e\u0438\u043d\u0442\u0441\u0440",
        "\u03b1\u03b5\u03b9\u03bf\u03c4\u03bd", "\u05d9\u05d5\u05d4\u05dc",
        "\u0627\u0644\u064a\u0645", "\u0e01\u0e32\u0e19\u0e23", "\u7684\u4e00\u662f\u4e0d\u4e86",
        "\u3044\u3046\u3048\u30a2\u30a4", "\uac00\ub098\ub2e4\ub77c",
        "\u0915\u0930\u093e\u0928\u094d", "\u00e9\u00e8\u00fcao\u00dfn", "e\u0301a\u0308n"]
    words = ["".join(rng.choice(a) for _ in range(rng.randint(1, 7)))
             for a in alphabets for _ in range(60)]
    ends = [". ", ", ", "! ", "? ", "\n", "\n\n", " ", " ", " ", " ", ": ", "; ", "'s ", "'ll ",
            "'t ", "  ", "\t", "\r\n", "...", "()", "{\n    ", "}\n", " == ", "->", "/", "\u3002",
            "\uff0c", "\u060c ", "\u0964 "]
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(3, 40)):
            kind = rng.random()
            if kind < 0.12:
                parts.append(str(rng.randint(0, 10 ** rng.randint(1, 7))))
            elif kind < 0.2:
                parts.append(rng.choice(words).title())
            else:
                parts.append(words[min(int(rng.expovariate(0.01)), len(words) - 1)])
            parts.append(rng.choice(ends))
        yield "".join(parts)
