"""Number words of German, French, Spanish, Italian and Portuguese, and telling that a text is of such a language.

Words such as "once", "due" or "elf" are numbers in one language and something else in another, so they are read only
in a text that has two function words of theirs. Articles (`ein`, `une`) are numbers only inside a longer one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

_ENGLISH = frozenset("the of and is are how many what each to has have with if for at from".split())
FUNCTION_WORDS = {
    "de": "und der das ist wie viele ein eine einen hat kostet für von mit dem den zu im wird pro jede jeder sind sie "
    "er es insgesamt nach am auf",
    "fr": "le les et une est combien dans chaque il elle des du qui pour avec sont sur au par ses leur",
    "es": "el los las una cada cuantos cuántos cuántas por es y en su con si tiene para que al",
    "it": "il gli quanti quante ogni che di e per ha una con sono della del nel se più",
    "pt": "o os em uma quantos quantas cada para e com se tem que por do da ao são",
    "nl": "het een hoeveel elke en van de is met",
    "sv": "och hur många är en ett på som har",
    "ru": "сколько каждый каждая если в и на по из за",
}
"""Of languages that write 1.500,50."""
_SHARED = frozenset(
    "a an as at am in is on or do no so to he me of die des per el del las los con van de en e y o os com di da".split()
)
"""Words that an English text may have, in names, signs and code too; none of them tells a language by itself."""

_DE_UNITS = {w: n for n, w in enumerate("ein zwei drei vier fünf sechs sieben acht neun".split(), start=1)}
_DE_UNITS |= {"eins": 1, "eine": 1, "zwo": 2}
_DE_TEENS = {w: n for n, w in enumerate("zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn"
                                        .split(), start=10)}  # fmt: skip
_DE_TENS = "zwanzig dreissig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
_DE_SMALL = _DE_UNITS | _DE_TEENS | {w: 10 * n for n, w in enumerate(_DE_TENS, start=2)}
_IT_UNITS = {w: n for n, w in enumerate("uno due tre quattro cinque sei sette otto nove".split(), start=1)} | {"tré": 3}
_IT_TEENS = {w: n for n, w in enumerate("dieci undici dodici tredici quattordici quindici sedici diciassette diciotto "
                                        "diciannove".split(), start=10)}  # fmt: skip
_IT_TENS = {w: 10 * n for n, w in enumerate("venti trenta quaranta cinquanta sessanta settanta ottanta novanta".split(),
                                            start=2)}  # fmt: skip
_FR = {w: n for n, w in enumerate("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze "
                                  "quinze seize".split())}  # fmt: skip
_FR |= {w: 10 * n for n, w in enumerate("vingt trente quarante cinquante soixante septante huitante nonante".split(),
                                        start=2)} | {"vingts": 20, "octante": 80, "une": 1}  # fmt: skip
_ES = {w: n for n, w in enumerate("cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce "
                                  "quince dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós "
                                  "veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
                                  .split())}  # fmt: skip
_ES |= {w: 10 * n for n, w in enumerate("treinta cuarenta cincuenta sesenta setenta ochenta noventa".split(), start=3)}
_ES_HUNDREDS = "dos tres cuatro quin seis sete ocho nove".split()
_ES |= {f"{w}cient{end}" if w != "quin" else f"quinient{end}": 100 * n
        for n, w in enumerate(_ES_HUNDREDS, start=2) for end in ("os", "as")}  # fmt: skip
_ES |= {"un": 1, "una": 1, "veintiún": 21, "veintiuna": 21, "cien": 100, "ciento": 100}
_PT = {w: n for n, w in enumerate("zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze "
                                  "quinze dezesseis dezessete dezoito dezenove vinte".split())}  # fmt: skip
_PT |= {w: 10 * n for n, w in enumerate("trinta quarenta cinquenta sessenta setenta oitenta noventa".split(), start=3)}
_PT |= {f"{w}{end}": 100 * n for n, w in enumerate("duzent trezent quatrocent quinhent seiscent setecent oitocent "
                                                   "novecent".split(), start=2) for end in ("os", "as")}  # fmt: skip
_PT |= {"uma": 1, "duas": 2, "quatorze": 14, "dezasseis": 16, "dezassete": 17, "dezanove": 19, "cem": 100, "cento": 100}


def _german(word: str) -> int | None:
    """The value of `zweihundertfünfundzwanzig`."""
    for scale, sign in ((1000, "tausend"), (100, "hundert")):
        before, found, after = word.partition(sign)
        if found:
            count = _german(before) if before else 1
            rest = _german(after.removeprefix("und")) if after else 0
            return None if count is None or rest is None or count >= scale else count * scale + rest
    unit, found, ten = word.partition("und")
    if found and ten in _DE_TENS:
        return _DE_SMALL[ten] + _DE_UNITS[unit] if unit in _DE_UNITS else None
    return _DE_SMALL.get(word)


def _italian(word: str) -> int | None:
    """The value of `duecentoventotto`."""
    before, found, after = word.partition("mila")
    if found:
        count, rest = _italian(before), _italian(after) if after else 0
        return None if count is None or rest is None else count * 1000 + rest
    if word.startswith("mille"):
        rest = _italian(word[5:]) if word[5:] else 0
        return None if rest is None else 1000 + rest
    before, found, after = word.partition("cent")
    if found and (not before or before in _IT_UNITS):
        for tail in (after.removeprefix("o"), after):
            rest = _italian(tail) if tail else 0
            if rest is not None and rest < 100:
                return _IT_UNITS.get(before, 1) * 100 + rest
        return None
    for ten, value in _IT_TENS.items():
        if word.startswith(ten[:-1]):
            unit = word[len(ten) - 1 :].removeprefix(ten[-1]) or "zero"
            return value if unit == "zero" else value + _IT_UNITS[unit] if unit in _IT_UNITS else None
    return _IT_TEENS.get(word) or _IT_UNITS.get(word)


@dataclass(frozen=True)
class _Language:
    """How a language counts: the value of a word, what joins two of them, scales, and parts of one."""

    value: Callable[[str], int | None]
    joint: str
    articles: frozenset[str]
    scales: Mapping[str, int]
    halves: frozenset[str]
    parts: Mapping[str, int]
    whole: Mapping[str, Fraction]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _parts(text: str) -> dict[str, int]:
    """`tiers:3 quart:4` as a table."""
    return {word: int(n) for word, _, n in (entry.partition(":") for entry in text.split())}


LANGUAGES = {
    "de": _Language(
        _german, "und", _words("ein eine einen einem einer"), _parts("million:1000000 millionen:1000000 dutzend:12"),
        _words("hälfte halb halbe halber halbes halben"),
        _parts("drittel:3 viertel:4 fünftel:5 sechstel:6 achtel:8 zehntel:10"),
        {"dreiviertel": Fraction(3, 4), "anderthalb": Fraction(3, 2), "eineinhalb": Fraction(3, 2),
         "zweieinhalb": Fraction(5, 2), "dreieinhalb": Fraction(7, 2), "doppelt": Fraction(2), "zweimal": Fraction(2)},
    ),
    "fr": _Language(
        _FR.get, "et", _words("un une"),
        _parts("mille:1000 million:1000000 millions:1000000 douzaine:12 douzaines:12"),
        _words("moitié demi demie"), _parts("tiers:3 quart:4 quarts:4 cinquième:5 cinquièmes:5 dixième:10 dixièmes:10"),
        {"centaine": Fraction(100), "dizaine": Fraction(10)},
    ),
    "es": _Language(
        _ES.get, "y", _words("un una uno"), _parts("mil:1000 millón:1000000 millones:1000000 docena:12 docenas:12"),
        _words("mitad medio media"), _parts("tercio:3 tercios:3 cuarto:4 cuartos:4 quinto:5 quintos:5 tercera:3"),
        {"doble": Fraction(2), "triple": Fraction(3)},
    ),
    "it": _Language(
        _italian, "e", _words("uno una un"), _parts("milione:1000000 milioni:1000000 dozzina:12 dozzine:12"),
        _words("metà mezzo mezza"), _parts("terzo:3 terzi:3 quarto:4 quarti:4 quinto:5 quinti:5"),
        {"doppio": Fraction(2), "triplo": Fraction(3)},
    ),
    "pt": _Language(
        _PT.get, "e", _words("um uma"), _parts("mil:1000 milhão:1000000 milhões:1000000 dúzia:12 dúzias:12"),
        _words("metade meio meia"), _parts("terço:3 terços:3 quarto:4 quartos:4 quinto:5 quintos:5"),
        {"dobro": Fraction(2), "triplo": Fraction(3)},
    ),
}  # fmt: skip
_MOST_DIGITS = 30
_FRENCH_SCALES = ("cent", "cents")
_TELLING = {name: _words(text) - _SHARED for name, text in FUNCTION_WORDS.items()}
_ANY_TELLING = frozenset(
    form for words in _TELLING.values() for word in words for form in (word, word.capitalize(), word.upper())
)


def languages_of(pieces: Sequence[str]) -> list[str]:
    """The languages of which a text has two function words; the first is the one with most of them."""
    if _ANY_TELLING.isdisjoint(pieces):
        return []
    words = {piece.lower() for piece in pieces}
    counts = {name: len(telling & words) for name, telling in _TELLING.items()}
    return sorted((name for name, n in counts.items() if n > 1), key=lambda name: (-counts[name], name))


def has_decimal_comma(pieces: Sequence[str], languages: Sequence[str]) -> bool:
    """Whether a text writes 1.500,50: one of these languages has more words in it than English."""
    if not languages:
        return False
    words = {piece.lower() for piece in pieces}
    return len(_TELLING[languages[0]] & words) > len(_ENGLISH & words)


def foreign_numbers(pieces: Sequence[str], languages: Sequence[str]) -> Iterator[tuple[int, int, Fraction]]:
    """(from, to, value) of the numbers that words of these languages make."""
    counted = [LANGUAGES[name] for name in languages if name in LANGUAGES]
    words = [_plain(piece) for piece in pieces] if counted else []
    done = 0
    for at in range(len(words)):
        found = next((made for one in counted if (made := _number_at(one, words, at))), None) if at >= done else None
        if found:
            done = found[0]
            yield at, *found


@cache
def _plain(piece: str) -> str:
    return unicodedata.normalize("NFC", piece).casefold()


def _number_at(language: _Language, words: Sequence[str], at: int) -> tuple[int, Fraction] | None:
    """(end, value) of a number that begins here and has a word in it."""
    word = words[at]
    if word in language.whole:
        return at + 1, language.whole[word]
    if (digits := _digits(word)) is not None:
        unit = _at(words, at + 1)
        if part := language.parts.get(unit):
            return at + 2, digits / part
        return (at + 2, digits * language.scales[unit]) if unit in language.scales else None
    article = word in language.articles
    begin = at + article
    if begin < len(words) and words[begin] in language.halves:
        return _scaled(language, words, begin + 1, Fraction(1, 2))
    end, value = _counted(language, words, at)
    if end == at:
        return None
    if part := language.parts.get(_at(words, end)):
        return end + 1, value / part
    if _at(words, end) in (language.joint, "und") and _at(words, end + 1) in (*language.halves, *language.articles):
        half = end + 1 + (_at(words, end + 1) in language.articles)
        if _at(words, half) in language.halves:
            return half + 1, value + Fraction(1, 2)
    return None if article and end == at + 1 else (end, value)


def _digits(word: str) -> Fraction | None:
    """The value of digits, as `words` hands them over: `25`, or `#2.5`."""
    digits = word.removeprefix("#")
    return Fraction(digits) if len(digits) < _MOST_DIGITS and digits.replace(".", "", 1).isdecimal() else None


def _scaled(language: _Language, words: Sequence[str], end: int, value: Fraction) -> tuple[int, Fraction]:
    """Half a dozen, half a million; else the part alone."""
    scale = language.scales.get(_at(words, end))
    return (end + 1, value * scale) if scale else (end, value)


def _at(words: Sequence[str], i: int) -> str:
    return words[i] if i < len(words) else ""


def _counted(language: _Language, words: Sequence[str], at: int) -> tuple[int, Fraction]:
    """The end and the value of the cardinal that begins here; the end is `at` where none does."""
    total, section, room, last, end = 0, 0, 10**9, 0, at
    while end < len(words):
        word = words[end]
        joined = word == language.joint and end > at
        here = end + joined
        value, scale = language.value(_at(words, here)), language.scales.get(_at(words, here))
        if language.value == _FR.get and _at(words, here) in _FRENCH_SCALES and not joined:
            if section != last or last > 9:
                break
            section, room, last = section + 100 * (last or 1) - last, 100, 100
        elif value == 20 and last == 4 and words[here].startswith("vingt"):
            section, room, last = section + 76, 20, 80
        elif scale and not joined:
            if scale >= (room if total else 10**9) and total:
                break
            total, section, room, last = total + (section or 1) * scale, 0, min(scale, 10**9), 0
            if scale == 12:
                return here + 1, Fraction(total)
        elif value is not None and value < room and (value or end == at):
            section, room, last = section + value, _room(value, language), value
        else:
            break
        end = here + 1
    return end, Fraction(total + section)


def _room(value: int, language: _Language) -> int:
    """What may follow a value inside a number is less than this."""
    if value >= 100:
        return 100 if value < 1000 and value % 100 == 0 else 0
    if language.value == _FR.get and value in (10, 60, 80):
        return 10 if value == 10 else 20
    return 10 if value >= 20 and value % 10 == 0 else 0
