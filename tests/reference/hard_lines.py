"""Lines that are hard to tokenize, of many languages and of generated noise, for comparisons with other tokenizers."""

SENTENCES = """The quick brown fox can't jump over 13 lazy dogs; it's 3.5% too heavy (see §4).
Zażółć gęślą jaźń, Łódź nad Wisłą
Příliš žluťoučký kůň úpěl ďábelské ódy
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg, SAGT ẞTRAẞE
L'été où Noël naquit, l'œuvre d'Éloïse coûta 12 €
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia ¿verdad?
Pijamalı hasta yağız şoföre çabucak güvendi, İSTANBUL'DA Iğdır ılık
Tôi có thể ăn thủy tinh mà không hại gì; đường phố Hà Nội
Съешь же ещё этих мягких французских булок, да выпей чаю: Йод ЁЛКА
Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне
Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία, ΟΔΥΣΣΕΥΣ ΣΊΣΥΦΟΣ ᾤδῃ
נוֹעַם בֵּין שַׁבָּת לְיוֹם רִאשׁוֹן, ״דוּגְמָה״
أَلْعَرَبِيَّةُ لُغَةٌ جَمِيلَةٌ، ١٢٣؟ ﷽ لا
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश क़िला ज़रा।
আমি কাঁচ খেতে পারি, তাতে আমার কোনো ক্ষতি হয় না। কো কৌ
நான் கண்ணாடி சாப்பிடுவேன், கொ கோ கௌ
ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ ๓๔
ខ្ញុំអាចញុំកញ្ចក់បាន ដោយគ្មានបញ្ហា
ကျွန်တော် ကျွန်မ မှန်စားနိုင်တယ်။
我能吞下玻璃而不伤身体。「你好」，世界！ＦＵＬＬ　ｗｉｄｔｈ
いろはにほへと ちりぬるを ガギグゲゴ ｶﾞｷﾞ パピプ が
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 각
მინას ვჭამ და არა მტკივა ᲛᲘᲜᲐᲡ
Կրնամ ապակի ուտել և ինծի անհանգիստ չըներ ԵՒ
እኔ መስታወት መብላት እችላለሁ፤ አይጎዳኝም።
ᎣᏏᏲ ᏣᎳᎩ ꮳꮃꭹ 𐐀𐐨 𞤀𞤢 Ꙁꙁ Ⱥⱥ ǅ ǆ Ǆ
👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪 ❤️ ☎︎ 1️⃣ ✈️ ½ ² ﬁ ﬃ Ω Å K
x = a[i]->b != "C:\\dir" && ~y ^ `z` | {k: $5, #7} @me <tag/> www.example.org/a_b-c?d=e&f=1,000.00
[CLS] is [SEP] not [MASK] a [mask] or [ CLS ] or[UNK]ed [PAD][PAD] [CLS""".splitlines()
RANGES = [(0x00, 0x20), (0x20, 0x7F), (0x7F, 0x100), (0x100, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x800),
          (0x8D0, 0x900), (0x900, 0xE00), (0xE00, 0x1100), (0x1100, 0x1200), (0x1700, 0x18B0), (0x1AB0, 0x1C90),
          (0x1DC0, 0x2000), (0x2000, 0x2100), (0x2E00, 0x3100), (0x3400, 0x3500), (0x4E00, 0xA000), (0xA640, 0xA7E0),
          (0xA800, 0xAAC0), (0xAC00, 0xD7A4), (0xE000, 0xF900), (0xF900, 0xFB50), (0xFB50, 0x10000), (0x10000, 0x10600),
          (0x10A00, 0x11200), (0x11200, 0x12000), (0x16E00, 0x17000), (0x1D100, 0x1D200), (0x1E000, 0x1E960),
          (0x1F000, 0x20000), (0x20000, 0x2FA20), (0xE0000, 0xE0200), (0x30000, 0x110000)]
# Where Unicode versions differ, what moves in canonical order, joiners, blanks, case that changes the length.
SINGLE = [0x0, 0x9, 0xA, 0xB, 0xC, 0xD, 0x1C, 0x85, 0xA0, 0xAD, 0x130, 0x131, 0x149, 0x1F0, 0x344, 0x345, 0x34F, 0x390, 0x3A3,
          0x3C2, 0x587, 0x8D4, 0x8E2, 0x890, 0xDF, 0xF73, 0x166D, 0x1734, 0x1715, 0x180E, 0x1885, 0x1886, 0x1C89, 0x1DF6,
          0x1E9E, 0x200B, 0x200C, 0x200D, 0x2028, 0x2029, 0x202E, 0x2060, 0x2126, 0x212A, 0x212B, 0x3000, 0x302E, 0x302F,
          0x3099, 0xA7CB, 0xA7DC, 0xA9BD, 0xFB1D, 0xFE0F, 0xFEFF, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x10D50, 0x110CD, 0x111C9,
          0x11938, 0x13430, 0x16EA0, 0x1D165, 0x1D166, 0x1D16D, 0x1F3FB, 0x2B740, 0x2B820, 0x2F800, 0xE0001, 0x10FFFD]


def noise(rng, length):
    """Characters of up to three ranges and some of the single ones."""
    ranges = rng.sample(RANGES, rng.choice([1, 1, 2, 3]))
    line = ""
    while len(line) < length:
        kind = rng.random()
        if kind < 0.15:
            line += chr(rng.choice(SINGLE))
        elif kind < 0.35:
            line += chr(rng.randrange(0x20, 0x7F))
        else:
            line += chr(rng.randrange(*rng.choice(ranges)))
    return line


def spoil(rng, sentence, special):
    """A stretch of a sentence, perhaps in another case or form, with strange characters or special tokens put in."""
    start = rng.randrange(max(1, len(sentence) - 8))
    line = sentence[start : start + rng.choice([8, 16, 30])]
    line = rng.choice([str, str, str.upper, str.lower, str.title, str.swapcase])(line)
    for _ in range(rng.choice([0, 0, 1, 2])):
        at = rng.randrange(len(line) + 1)
        line = line[:at] + rng.choice([chr(rng.choice(SINGLE)), noise(rng, 1), rng.choice(special)]) + line[at:]
    return line


def draw_lines(rng, count, special):
    """Some short ones, long words and the sentences, then noise and spoilt sentences in equal parts."""
    lines = ["", " ", "\t\n", "a" * 100, "a" * 101, "é" * 100 + " " + "é" * 101, *SENTENCES]
    while len(lines) < count:
        lines.append(noise(rng, rng.choice([1, 4, 9, 18])) if rng.random() < 0.5 else spoil(rng, rng.choice(SENTENCES), special))
    return lines[:count]


SPACES = [" ", " ", " ", "  ", "   ", "\n", "\r\n", "\n\n ", "\t", " \n", "\u00a0", "\u3000", " \u2003", "\u200b",
          "\x85", "\u2028", "\x1f"]
SHORT = ["'s", "'S", "'\u017f", "'T", "'re", "'rE", "'Ve", "'m", "'LL", "'l", "'d", "''d", "'x", "n't", "\u2019s", "1",
         "23", "4.567", "\u0663\u0664", "\u00bd", "\u4e09", "!", "...", "\u2014", "\U0001f600", "#$", "_a", "a\u0301",
         "\u0301", "\u1100\u1161\u11a8", "\u0915\u094d\u0937", "x"]


def knit(rng, special):
    """Words, digits, signs and contractions with white space of many kinds between them, or none."""
    line = ""
    for _ in range(rng.choice([1, 3, 6])):
        words = rng.choice(SENTENCES).split()
        line += rng.choice(["", "", rng.choice(SPACES), rng.choice(SPACES) + rng.choice(SPACES)])
        line += rng.choice([rng.choice(words), rng.choice(SHORT), rng.choice(SHORT), rng.choice(special)])
    return line + rng.choice(["", "", rng.choice(SPACES)])


CLUSTERED = [chr(c) for c in (
    0x65, 0x41, 0x69, 0x20, 0xD, 0xA, 0x9, 0x0, 0xA9, 0xE9, 0x1E9, 0x41A, 0x438, 0x3B9, 0x5D0, 0x627, 0x915, 0x958,
    0x9DC, 0x1100, 0x1161, 0x11A8, 0xAC00, 0x2122, 0x2139, 0x24C2, 0x203C, 0x3297, 0x30AB, 0xFF76, 0xFF9E, 0xFDFA,
    0x337F, 0xBD, 0xFB01, 0x1D400, 0x1F44D, 0x1F3FD, 0x1F1E9, 0x1F1EA, 0x301, 0x308, 0x323, 0x344, 0x345, 0x5B8, 0x93C,
    0x93F, 0x94D, 0x981, 0x1DC4, 0x200C, 0x200D, 0xFE0F, 0x3099, 0x600, 0x6DD, 0x110BD, 0x200B, 0xAD, 0x2028, 0x897,
    0x1611E, 0x1F777, 0x231A, 0x1039)]


def cluster(rng):
    """Characters of which many join those beside them."""
    return "".join(rng.choice(CLUSTERED) for _ in range(rng.choice([2, 4, 8])))


def draw_clustered_lines(rng, count, special):
    """As draw_spaced_lines, with as many lines of joined characters."""
    return draw_spaced_lines(rng, count - count // 2, special) + [cluster(rng) for _ in range(count // 2)]


def draw_spaced_lines(rng, count, special):
    """As draw_lines, with as many lines in which white space matters."""
    return draw_lines(rng, count - count // 2, special) + [knit(rng, special) for _ in range(count // 2)]
