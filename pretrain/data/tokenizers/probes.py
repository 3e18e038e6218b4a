"""Texts on which tokenizers go wrong, each with a name that says how: for trials and for comparisons."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Mapping

AWKWARD: Mapping[str, str] = {
    "nothing": "",
    "one space": " ",
    "spaces at both ends": "  two at both ends  ",
    "a leading space": " leading",
    "runs of spaces": "a b  c   d    e     f      g       h        i" + " " * 40 + "j",
    "tabs": "\tif x:\n\t\treturn\t\t1\t",
    "spaces before a line end": "end  \n  start \n\n \n",
    "CRLF": "one\r\ntwo\r\n\r\nthree\r",
    "other line ends": "a\u0085b\u2028c\u2029d\x0be\x0cf",
    "spaces of other widths": "a\u00a0b\u2003c\u3000d\u200ae\u202ff\u1680g",
    "U+2581": "a\u2581b \u2581 \u2581\u2581",
    "U+FFFD": "a\ufffdb\ufffd\ufffd",
    "combining marks": "e\u0301 a\u030a \u0041\u0301\u0323 n\u0303 \u1e9b\u0323",
    "characters that NFC changes": "\u212b \u2126 \u0958 \u2adc \ufb1d \U0001d15e",
    "characters that NFKC changes": "\ufb01 \u00bd \u2460 \uff21\uff11 \u3392 \u00b2",
    "upper case": "MiXeD Case ÄÖÜ ΣΑΣ İstanbul ıI ẞß",
    "accents": "café naïve Zürich Ångström señor đ ł",
    "zero-width joiners": "\U0001f468\u200d\U0001f469\u200d\U0001f467 क्\u200dष a\u200bb\u200cc\u2060d",
    "emoji": "😀👍🏽🇩🇪 ❤️ 1️⃣ 🏴\U000e0067\U000e0062\U000e007f",
    "Chinese, Japanese, Korean": "中文，没有空格。日本語のテキスト 한국어 텍스트 𠮷野家",
    "controls": "\x00\x01\x07\x08\x1b[0m\x1c\x1d\x1e\x1f\x7f\x80\x9f",
    "marks of direction": "\u202aabc\u202c \u200fשלום\u200e \u2066x\u2069 مرحبا بالعالم",
    "a byte order mark": "\ufefftext\ufeff",
    "far planes": "\U00010348\U0001f9ff\U000e0001\U000f0000\U0010ffff",
    "no characters": "\ufffe\uffff\U0001fffe",
    "contractions": "I'm you're he'S WE'LL they'd don't 'tis 'ſ 'K ''s '\u017f",
    "digits": "1234567 3.14 1,000 ٠١٢ ½ Ⅷ ²³ x1y22z333 a  1",
    "marks": "!!! ?! --- ... ([{<>}]) a_b_c __init__ #$%^&*~`|\\/ 'quoted' \"quoted\" .\n\n;\r\n",
    "code": 'def f(x: int) -> str:\n    return f"{x!r:>{10}}"  # no\n\n\nif __name__ == "":\n\tf(0)\n',
    "words with spaces before punctuation": "a , b . c ! d ? e 's f n't g",
    "bytes by name": "<0x0A> <0xFF> <0x41>",
    "names of tokens": "<|endoftext|><s></s><unk><pad>[CLS][SEP]<|im_start|><eos> ##ing ▁the Ġthe Ċ",
    "a long word": "a" * 300 + "AB" * 50,
    "long words between spaces": "Donaudampfschifffahrtsgesellschaft " * 3 + "x" * 200 + " y",
    "Russian, Greek, Hindi, Thai": "Привет, мир! Γειά σου Κόσμε. नमस्ते दुनिया สวัสดีชาวโลก",
}
SEED, NUM_RANDOM = 4096, 200
SURROGATES = range(0xD800, 0xE000)


def random_texts() -> Iterator[str]:
    """Random Unicode, the same on every call: from all planes, and from what text is mostly made of."""
    generator = random.Random(SEED)
    common = "  \n\t'.,-_()01aeinorstAEZäéñ中文 😀\u0301\u2581"
    for _ in range(NUM_RANDOM):
        length = generator.randrange(1, 60)
        top = generator.choice((0x80, 0x250, 0x3000, 0x10000, 0x110000))
        drawn = (generator.randrange(top) for _ in range(length))
        far = "".join(chr(code) for code in drawn if code not in SURROGATES)
        yield "".join(generator.choice((char, generator.choice(common))) for char in far)


def code_points() -> str:
    """Characters of every kind, and of every block that may have been given characters since.

    Whoever cuts text by classes of characters goes by tables of some version of Unicode.
    """
    found, last = [], ""
    for code in range(0x32000):
        kind = unicodedata.category(chr(code))
        if code not in SURROGATES and (kind[0] != last or code % 16 == 0):
            found.append(chr(code))
        last = kind[0]
    return "".join(found)


def probes() -> Iterator[str]:
    """Everything, for a comparison of ids."""
    yield from AWKWARD.values()
    yield from random_texts()
    kinds = code_points()
    yield kinds
    yield " ".join(kinds)
    yield "".join(f"a{char}1" for char in kinds)
