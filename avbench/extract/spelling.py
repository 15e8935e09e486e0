"""Written English → the words that are said, and a pronunciation for a word that no dictionary has.

    "In 1999, Anna's Kräuter-tea cost £3.50." → in nineteen ninety nine anna's krauter tea cost three point five zero pounds

Conventions. Words are lower case, letters and inner apostrophes only; accents are dropped, hyphens part words. What is
not a letter, digit or one of a few signs parts words and is not said. Phones are those of the CMU dictionary, without
stress. The rules for letters are few: they give a speaker's first guess at an unknown name, not its right sound.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Callable, Iterator

__all__ = ["letters_to_phones", "number_words", "phones_of", "words_of"]

QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o"})

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LARGEST = 10**12  # from here on, digit by digit
LONGEST = 40  # digits; what is longer is no number
YEARS = (range(1100, 2000), range(2010, 2100))  # four digits without a comma are said as two pairs
CURRENCIES = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
SIGNS = {"%": "percent", "&": "and", "+": "plus", "=": "equals", "@": "at"}
SHORT = {"mr.": "mister", "mrs.": "missus", "dr.": "doctor", "prof.": "professor", "vs.": "versus", "etc.": "et cetera"}

TOKEN = re.compile(
    r"(?P<short>\b(?:mrs?|dr|prof|vs|etc)\.)"
    r"|(?P<currency>[$£€]?)(?P<number>\d+(?:,\d{3})*)(?P<decimals>\.\d+)?"
    r"(?:(?P<ordinal>st|nd|rd|th)\b|(?P<plural>'?s)\b)?"
    r"|(?P<word>[a-z]+(?:'[a-z]+)*)"
    r"|(?P<sign>[%&+=@])"
)


def words_of(text: str) -> list[str]:
    """The words that a speaker of the text says, in order; empty where there is nothing to say."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(QUOTES)).translate(QUOTES)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [word for match in TOKEN.finditer(plain) for word in _said(match)]


def number_words(number: int) -> list[str]:
    """A whole number of 0 or more in words: 342 → three hundred forty two."""
    if number >= LARGEST:
        return [ONES[int(digit)] for digit in str(number)]
    words: list[str] = []
    for size, name in SCALES:
        if number >= size:
            words += [*number_words(number // size), name]
            number %= size
    if number >= 100:
        words += [ONES[number // 100], "hundred"]
        number %= 100
    if number >= 20:
        words.append(TENS[number // 10])
        number %= 10
    return [*words, ONES[number]] if number or not words else words


def phones_of(word: str, lookup: Callable[[str], str | None]) -> str:
    """The phones of a word that `lookup` does not have, from words that it has, else from its letters.

    Tried in this order: an ending that is said the same after any word; a spelling of the other side of the ocean;
    letters that can only be named; two words written as one; letter by letter.
    """
    return (
        _inflected(word, lookup) or _named(word) or _compound(word, lookup) or letters_to_phones(word) or _names(word)
    )


# Numbers and signs -----------------------------------------------------------------------------------------------


def _said(match: re.Match[str]) -> Iterator[str]:
    if match["short"]:
        yield from SHORT[match["short"]].split()
    elif match["word"]:
        yield match["word"]
    elif match["sign"]:
        yield SIGNS[match["sign"]]
    else:
        yield from _amount(match)


def _amount(match: re.Match[str]) -> Iterator[str]:
    digits = match["number"]
    plain = digits.replace(",", "")
    if len(plain) > LONGEST:
        yield from (ONES[int(digit)] for digit in plain)
        return
    whole = int(plain)
    spoken = number_words(whole)
    is_year = len(digits) == 4 and any(whole in years for years in YEARS)
    if match["plural"] and not match["decimals"]:  # the 90s, the 1990s
        if is_year:
            spoken = [*number_words(whole // 100), *_second_pair(whole % 100)]
        last = spoken[-1]
        yield from [*spoken[:-1], last[:-1] + "ies" if last.endswith("y") else last + "s"]
        return
    if match["ordinal"]:
        yield from [*spoken[:-1], _ordinal(spoken[-1])]
        return
    if len(digits) > 1 and digits.startswith("0"):  # a code, not an amount
        yield from (ONES[int(digit)] for digit in digits.replace(",", ""))
    elif is_year and not match["currency"] and not match["decimals"]:
        yield from number_words(whole // 100)
        yield from _second_pair(whole % 100)
    else:
        yield from spoken
    if match["decimals"]:
        yield "point"
        yield from (ONES[int(digit)] for digit in match["decimals"][1:])
    if match["currency"]:
        yield CURRENCIES[match["currency"]][digits != "1" or bool(match["decimals"])]


def _second_pair(number: int) -> list[str]:
    """The last two digits of a year: 1900 → hundred, 1905 → oh five."""
    if number == 0:
        return ["hundred"]
    return ["oh", *number_words(number)] if number < 10 else number_words(number)


def _ordinal(word: str) -> str:
    return ORDINALS.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")


# Words made of words ---------------------------------------------------------------------------------------------

VOICELESS = {"P", "T", "K", "F", "TH", "S", "SH", "CH", "HH"}
HISSING = {"S", "Z", "SH", "ZH", "CH", "JH"}
ENDINGS = {
    "ing": "IH NG",
    "ings": "IH NG Z",
    "er": "ER",
    "ers": "ER Z",
    "ly": "L IY",
    "ness": "N AH S",
    "less": "L AH S",
}
SPELLINGS = (("our", "or"), ("ise", "ize"), ("isation", "ization"), ("yse", "yze"), ("tre", "ter"), ("ogue", "og"))
NAMES = {
    "a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY", "h": "EY CH", "i": "AY",
    "j": "JH EY", "k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N", "o": "OW", "p": "P IY", "q": "K Y UW",
    "r": "AA R", "s": "EH S", "t": "T IY", "u": "Y UW", "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S",
    "y": "W AY", "z": "Z IY",
}  # fmt: skip
SHORTEST_PART = 3  # letters of each half of a compound


def _inflected(word: str, lookup: Callable[[str], str | None]) -> str:
    """A known stem with an ending, or the word in American spelling."""
    for old, new in SPELLINGS:
        if old in word and (found := lookup(word.replace(old, new))):
            return found
    if word.endswith("s") and (stem := lookup(word.removesuffix("s").removesuffix("'"))):
        return f"{stem} {_plural(stem.split()[-1])}"
    if word.endswith("es") and (stem := lookup(word[:-2])):
        return f"{stem} {_plural(stem.split()[-1])}"
    if word.endswith("ed") and (stem := _stem(word[:-2], lookup)):
        last = stem.split()[-1]
        return f"{stem} {'IH D' if last in ('T', 'D') else 'T' if last in VOICELESS else 'D'}"
    for ending, phones in ENDINGS.items():
        if word.endswith(ending) and (stem := _stem(word.removesuffix(ending), lookup)):
            return f"{stem} {phones}"
    return ""


def _plural(last: str) -> str:
    return "IH Z" if last in HISSING else "S" if last in VOICELESS else "Z"


def _stem(start: str, lookup: Callable[[str], str | None]) -> str | None:
    """The word that an ending was put to: walk-, mak(e)-, stop(p)-, carr(y)-."""
    if len(start) < 2:
        return None
    guesses = [start, start + "e"]
    if start[-1] == start[-2]:
        guesses.append(start[:-1])
    if start.endswith("i"):
        guesses.append(start[:-1] + "y")
    return next((found for guess in guesses if (found := lookup(guess))), None)


def _named(word: str) -> str:
    """The names of letters, where no vowel holds them together."""
    return "" if re.search("[aeiouy]", word) else _names(word)


def _names(word: str) -> str:
    """Letter by letter, as an abbreviation is read."""
    return " ".join(NAMES[letter] for letter in word if letter in NAMES)


def _compound(word: str, lookup: Callable[[str], str | None]) -> str:
    """Two known words; the cut nearest to the middle wins."""
    cuts = sorted(range(SHORTEST_PART, len(word) - SHORTEST_PART + 1), key=lambda cut: abs(2 * cut - len(word)))
    for cut in cuts:
        first, second = lookup(word[:cut]), lookup(word[cut:])
        if first and second:
            return f"{first} {second}"
    return ""


# Letters ---------------------------------------------------------------------------------------------------------

# What stands before, letters, what stands after, phones (or none): the first rule that fits is taken. `_` is anything,
# `^` and `$` are the ends of the word, V a vowel and C a consonant, E a consonant and the silent e that ends a word.
_RULES = """
    ^ kn _ N         | ^ gn _ N          | ^ wr _ R          | ^ ps _ S          | ^ x _ Z           | ^ rh _ R
    ^ mc _ M AH K    | _ mb $ M          | _ gn $ N          | _ tch _ CH        | _ sch _ SH        | _ chr _ K R
    _ ch _ CH        | _ ck _ K          | _ sh _ SH         | _ th _ TH         | _ ph _ F          | _ que $ K
    _ qu _ K W       | _ igh _ AY        | _ eigh _ EY       | _ augh _ AO       | _ ough _ OW       | V gh _
    _ gh _ G         | _ dge _ JH        | _ dg [eiy] JH     | _ wh _ W          | _ sc [eiy] S      | _ cc [eiy] K S
    _ ci [aou] SH    | _ c [eiy] S       | _ c _ K           | _ gg _ G          | ^ ge [rt] G EH    | _ g [eiy] JH
    _ gu [ei] G      | _ ng $ NG         | _ n [kgqx] NG     | V sion _ ZH AH N  | _ sion _ SH AH N  | _ tion _ SH AH N
    _ ti [ao] SH     | [bdgmnlrvw] s $ Z | _ ture _ CH ER
    V sure _ ZH ER   | _ ious $ IY AH S  | _ ous $ AH S      | C age $ IH JH
    _ ing $ IH NG    | _ ings $ IH NG Z  | [td] ed $ IH D    | [aeiouy]C ed $ D  | C ed $ D          | C le $ AH L
    C les $ AH L Z   | [sxz] es $ IH Z   | C es $ Z          | C e $             | V e $             | C er $ ER
    C ers $ ER Z     | C on $ AH N       | C en $ AH N       | _ man $ M AH N    | C el $ AH L       | C al $ AH L
    C an $ AH N      | _ air _ EH R      | _ are $ EH R      | _ ear _ IH R      | _ eer _ IH R      | _ ier _ IY ER
    _ ire _ AY R     | _ oor _ AO R      | _ our _ AO R      | _ ore _ AO R      | _ oar _ AO R      | _ ure _ Y UH R
    _ arr V AE R     | _ err V EH R      | _ irr V IH R      | _ orr V AO R      | w ar _ AO R       | _ ar V EH R
    _ ar _ AA R      | C er C ER         | _ er V IH R       | _ er _ ER         | _ ir V IH R       | _ ir _ ER
    w or C ER        | _ or _ AO R       | _ ur V Y UH R     | _ ur _ ER         | _ eau _ OW        | _ ai _ EY
    _ ay _ EY        | _ au _ AO         | _ aw _ AO         | _ ea _ IY         | _ ee _ IY         | _ ei _ AY
    _ ey $ IY        | _ ey _ EY         | _ eu _ Y UW       | _ ew _ UW         | _ ie _ IY         | _ oa _ OW
    _ oe _ OW        | _ oi _ OY         | _ oy _ OY         | _ oo k UH         | _ oo _ UW         | _ ou _ AW
    _ ow $ OW        | _ ow _ AW         | _ ue $ UW         | _ ui _ UW         | _ uy _ AY         | w a [tsln] AA
    _ a E EY         | _ a tion EY       | _ a ting EY       | _ a $ AH          | ^ a C[aeiou] AH   | _ all $ AO L
    _ a _ AE         | _ e E IY          | ^C e C[aeiou] IH  | _ e _ EH          | _ i E AY          | _ ia $ IY AH
    _ i [aou] IY     | _ i $ IY          | _ i _ IH          | _ o E OW          | _ o $ OW          | _ o V OW
    _ o C[iaou] OW   | _ os $ OW S       | _ old _ OW L D    | _ o _ AA          | _ u E UW          | _ u C[iaou] UW
    _ u V UW         | _ u $ UW          | _ u _ AH          | ^ y _ Y           | ^C y $ AY         | _ y $ IY
    V y V Y          | _ y E AY          | _ y _ IH          | _ ss _ S          | V s e Z           | V s m Z
    _ x _ K S        | _ j _ JH          | _ q _ K           | ^ h _ HH          | V h V HH          | C h V HH
    _ h _            | _ b _ B           | _ d _ D           | _ f _ F           | _ g _ G           | _ k _ K
    _ l _ L          | _ m _ M           | _ n _ N           | _ p _ P           | _ r _ R           | _ s _ S
    _ t _ T          | _ v _ V           | _ w C             | _ w $             | _ w _ W           | _ z _ Z
"""
_SHORTHAND = {"_": "", "V": "[aeiouy]", "C": "[bcdfghjklmnpqrstvwxz]", "E": "[bcdfghjklmnpqrstvwxz]e[sd]?$"}


@dataclasses.dataclass(frozen=True)
class _Rule:
    before: re.Pattern[str]  # ends where the letters begin
    letters: str
    after: re.Pattern[str]
    phones: str


def letters_to_phones(word: str) -> str:
    """A guess from the letters alone; the empty string where none of them is said."""
    word = word.replace("'", "")
    phones, place = [], 0
    while place < len(word):
        if place and word[place] == word[place - 1] and word[place] not in "aeiou":
            place += 1  # the second of two is not said
            continue
        rule = next((rule for rule in _rules() if _fits(rule, word, place)), None)
        if rule is not None and rule.phones:
            phones.append(rule.phones)
        place += len(rule.letters) if rule is not None else 1
    return " ".join(phones)


def _fits(rule: _Rule, word: str, place: int) -> bool:
    return (
        word.startswith(rule.letters, place)
        and rule.before.search(word[:place]) is not None
        and rule.after.match(word[place + len(rule.letters) :]) is not None
    )


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    rules = []
    for text in re.split(r" \| |\n", _RULES.strip()):
        before, letters, after, *phones = text.split()
        before, after = ("".join(_SHORTHAND.get(sign, sign) for sign in context) for context in (before, after))
        rules.append(_Rule(re.compile(f"(?:{before})$"), letters, re.compile(after), " ".join(phones)))
    return tuple(rules)
