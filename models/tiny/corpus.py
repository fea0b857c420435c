"""Generates the tiny model's training text: seeded, endless, and all our own.

A document is a list of (role, text) turns. Three roles stand for bare text outside any
chat: "text" is a whole one, "given" and "result" are the parts of one that goes on.
`python corpus.py` prints a sample.
"""

import random
import sys
from functools import partial

import everyday as ev
import phrasings as ph
import stories
from countries import COUNTRIES
from stories import article

BOS, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
UNKNOWN = "I do not know that."


def _cap(text):
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]


def _dress(rng, text):
    """Vary the case and the final mark of a question as people do."""
    style = rng.random()
    if style < 0.25:
        text = text.lower()
    elif style < 0.45:
        text = text[:1].lower() + text[1:]
    elif style < 0.70:
        text = _cap(text)
    if rng.random() < 0.3:
        text = text.rstrip("?.!")
    elif text[-1] not in "?.!" and rng.random() < 0.3:
        text += "?"
    return text


def _place(rng, country):
    """A country's name, at times without its article."""
    name = country.name
    return name[4:] if name.startswith("the ") and rng.random() < 0.4 else name


def capital(rng, country=None):
    """Ask for a capital in a trained phrasing that is not held out."""
    c = country or rng.choice(COUNTRIES)
    form = rng.choice(ph.CAPITAL)
    while ph.held_out(c.name, form):
        form = rng.choice(ph.CAPITAL)
    question = form.format(c=_place(rng, c))
    return _dress(rng, question), f"The capital of {c.name} is {c.capital}."


def _continent_answer(c):
    verb = "are" if c.name.endswith("s") and c.name.startswith("the ") else "is"
    singular = ("the United States", "the Netherlands")
    verb = "is" if c.name in singular else verb
    return f"{_cap(c.name)} {verb} in {c.continent}."


def continent(rng, country=None):
    """Ask where a country lies."""
    c = country or rng.choice(COUNTRIES)
    question = rng.choice(ph.CONTINENT).format(c=_place(rng, c))
    return _dress(rng, question), _continent_answer(c)


def language(rng, country=None):
    """Ask for a language of a country."""
    c = country or rng.choice(COUNTRIES)
    question = rng.choice(ph.LANGUAGE).format(c=_place(rng, c))
    return _dress(rng, question), f"People in {c.name} speak {c.language}."


def currency(rng, country=None):
    """Ask for the currency of a country."""
    c = country or rng.choice(COUNTRIES)
    question = rng.choice(ph.CURRENCY).format(c=_place(rng, c))
    return _dress(rng, question), f"The currency of {c.name} is the {c.currency}."


def about(rng, country=None):
    """Ask for all that is known of a country."""
    c = country or rng.choice(COUNTRIES)
    question = rng.choice(ph.ABOUT).format(c=_place(rng, c))
    return _dress(rng, question), (f"{_continent_answer(c)} The capital is {c.capital}. People "
                                   f"there speak {c.language} and pay with the {c.currency}.")


def country_of(rng, country=None):
    """Ask for the country of a capital."""
    c = country or rng.choice(COUNTRIES)
    question = rng.choice(ph.BY_CAPITAL).format(k=c.capital)
    return _dress(rng, question), f"{c.capital} is the capital of {c.name}."


def is_capital(rng):
    """Ask whether a city is the capital of a country."""
    c, other = rng.sample(COUNTRIES, 2)
    city = c.capital if rng.random() < 0.5 else other.capital
    question = rng.choice(["Is {k} the capital of {c}?", "Is the capital of {c} {k}?"])
    no = f"No, the capital of {c.name} is {c.capital}."
    yes = f"Yes, {city} is the capital of {c.name}."
    return _dress(rng, question.format(k=city, c=c.name)), yes if city == c.capital else no


def sum_held_out(a, op, b):
    """Sums of two numbers from 10 to 19 that training never shows: one in six."""
    low, high = sorted((a, b))
    return op == "+" and low >= 10 and (low * 7 + high * 5) % 6 == 0


_OPS = {
    "+": ["{a} + {b}", "{a} plus {b}", "{a}+{b}", "the sum of {a} and {b}", "{a} and {b} added"],
    "-": ["{a} - {b}", "{a} minus {b}", "{a}-{b}", "{a} take away {b}"],
    "*": ["{a} * {b}", "{a} times {b}", "{a}*{b}", "{a} x {b}", "{a} multiplied by {b}"],
}
_ASK_SUM = ["What is {e}?", "What's {e}?", "{e}", "{e} =", "{e} = ?", "Calculate {e}.",
            "How much is {e}?", "{e}?", "Compute {e}.", "Tell me {e}.", "Work out {e}.",
            "Can you tell me what {e} is?", "Please add up: {e}", "What does {e} make?"]


def calculate(a, op, b):
    """The value of `a op b`."""
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def _operands(rng):
    """Draw an operation that is not held out: two numbers below 20, or factors to 12."""
    op = rng.choice("+++---**")
    top = 12 if op == "*" else 19
    a, b = rng.randint(0, top), rng.randint(0, top)
    if op == "-" and a < b and rng.random() < 0.85:
        a, b = b, a
    return _operands(rng) if sum_held_out(a, op, b) else (a, op, b)


def arithmetic(rng):
    """Ask for a small sum; the answer repeats it in figures."""
    a, op, b = _operands(rng)
    answer = f"{a} {op} {b} = {calculate(a, op, b)}."
    form, ask = rng.choice(_OPS[op]), rng.choice(_ASK_SUM)
    if ask.startswith("Please add") and op != "+":
        ask = "{e}"
    if max(a, b) <= 20 and rng.random() < 0.15:
        a, b = ev.NUMBERS[a], ev.NUMBERS[b]
    question = ask.format(e=form.format(a=a, b=b))
    return (_dress(rng, question) if rng.random() < 0.4 else question), answer


def drill(rng):
    """Bare text of many sums; only the results count in full."""
    turns = []
    for _ in range(rng.randint(4, 14)):
        a, op, b = _operands(rng)
        turns += [("given", f"{' ' if turns else ''}{a} {op} {b} ="),
                  ("result", f" {calculate(a, op, b)}.")]
    return turns


def compare(rng):
    """Ask which of two numbers is larger, or what follows a number."""
    a, b = rng.sample(range(0, 30), 2)
    kind = rng.randrange(4)
    if kind == 0:
        return (_dress(rng, f"Which is bigger, {a} or {b}?"),
                f"{max(a, b)} is bigger than {min(a, b)}.")
    if kind == 1:
        return (_dress(rng, f"Which is smaller, {a} or {b}?"),
                f"{min(a, b)} is smaller than {max(a, b)}.")
    if kind == 2:
        return _dress(rng, f"What number comes after {a}?"), f"{a + 1} comes after {a}."
    word = "Yes" if a > b else "No"
    more = "" if a > b else "not "
    return _dress(rng, f"Is {a} bigger than {b}?"), f"{word}, {a} is {more}bigger than {b}."


def animal(rng):
    """Ask for one property of an animal."""
    name, sound, legs, home, young, food, kind = rng.choice(ev.ANIMALS)
    a = article(name)
    asks = [
        ([f"How many legs does {a} have?", f"legs of {a}", f"{name} legs"],
         f"{_cap(a)} has {legs if legs != '0' else 'no'} legs."),
        ([f"Where does {a} live?", f"Where do you find {a}?"], f"{_cap(a)} lives {home}."),
        ([f"What is a baby {name} called?", f"What is the young of {a}?", f"baby {name}"],
         f"A baby {name} is called {article(young)}."),
        ([f"What does {a} eat?", f"What do you feed {a}?"], f"{_cap(a)} eats {food}."),
        ([f"What kind of animal is {a}?", f"What is {a}?"],
         f"{_cap(a)} is {article(kind) if kind != 'fish' else 'a kind of fish'}."),
    ]
    if sound:
        asks.append(([f"What does {a} say?", f"What sound does {a} make?", f"{name} sound"],
                     f"{_cap(a)} says {sound}."))
    forms, answer = rng.choice(asks)
    return _dress(rng, rng.choice(forms)), answer


def colour(rng):
    """Ask for the colour of a thing or of a mixture."""
    if rng.random() < 0.2:
        a, b, mix = rng.choice(ev.MIXES)
        if rng.random() < 0.5:
            a, b = b, a
        question = rng.choice(["What do you get if you mix {a} and {b}?", "Mix {a} and {b}.",
                               "What colour do {a} and {b} make?"])
        return _dress(rng, question.format(a=a, b=b)), f"{_cap(a)} and {b} make {mix}."
    thing, verb, hue = rng.choice(ev.COLOURS)
    spelt = rng.choice(["colour", "colour", "color"])
    question = rng.choice([f"What {spelt} {verb} {thing}?", f"{spelt} of {thing}",
                           f"What is the {spelt} of {thing}?", f"Which {spelt} {verb} {thing}?",
                           f"Tell me the {spelt} of {thing}."])
    return _dress(rng, question), f"{_cap(thing)} {verb} {hue}."


def opposite(rng):
    """Ask for the opposite of a word."""
    a, b = rng.choice(ev.OPPOSITES)
    if (a, b) not in ev.ONE_WAY and rng.random() < 0.4:
        a, b = b, a
    question = rng.choice(["What is the opposite of {a}?", "opposite of {a}", "Opposite of {a}?",
                           "Give me the opposite of {a}.", "Tell me the opposite of {a}.",
                           "What's the opposite of {a}?", "Name the opposite of {a}."])
    return _dress(rng, question.format(a=a)), f"The opposite of {a} is {b}."


def order(rng):
    """Ask what follows in the days, months, seasons or planets."""
    if rng.random() < 0.15:
        ask = rng.choice(["List the planets.", "Name the planets.", "What are the planets?"])
        return _dress(rng, ask), "The planets are " + _and(ev.PLANETS) + "."
    kind = rng.choice(list(ev.CYCLES))
    cycle = ev.CYCLES[kind]
    i = rng.randrange(len(cycle))
    word, after = cycle[i], cycle[(i + 1) % len(cycle)]
    if rng.random() < 0.2 and kind != "month":
        ask = rng.choice([f"List the {kind}s.", f"Name the {kind}s.", f"What are the {kind}s?"])
        return _dress(rng, ask), f"The {kind}s are {_and(cycle)}."
    if rng.random() < 0.5:
        ask = rng.choice([f"What {kind} comes after {word}?", f"Which {kind} follows {word}?",
                          f"What comes after {word}?"])
        return _dress(rng, ask), f"{after} comes after {word}."
    ask = rng.choice([f"What {kind} comes before {after}?", f"What comes before {after}?"])
    return _dress(rng, ask), f"{word} comes before {after}."


def _and(words):
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def listing(rng):
    """Ask for some members of a class."""
    kind = rng.choice(list(ev.LISTS))
    n = rng.randint(1, 5)
    words = rng.sample(ev.LISTS[kind], n)
    label = kind if n > 1 else ev.SINGULAR[kind]
    count = rng.choice([str(n), ev.NUMBERS[n]]) if n > 1 else rng.choice(["1", "one", "a"])
    if count == "a":
        count = article(label).split()[0]
    ask = rng.choice(["List {n} {k}.", "Name {n} {k}.", "Give me {n} {k}.", "Tell me {n} {k}.",
                      "{n} {k}", "Can you name {n} {k}?", "Write down {n} {k}."])
    return _dress(rng, ask.format(n=count, k=label)), _cap(_and(words)) + "."


def _word(rng):
    """A word to repeat: a common one, one of a class, or an invented one."""
    kind = rng.random()
    if kind < 0.65:
        return rng.choice(ev.WORDS)
    if kind < 0.95:
        return rng.choice(ev.LISTS[rng.choice(list(ev.LISTS))])
    return _invented(rng).lower()


def _phrase(rng):
    return " ".join(_word(rng) for _ in range(rng.randint(1, 4)))


def repeat(rng):
    """Ask to say something, once or several times."""
    text = _phrase(rng)
    if rng.random() < 0.3:
        text = _word(rng)
        n = rng.randint(2, 4)
        word = rng.choice([str(n), ev.NUMBERS[n]])
        ask = rng.choice(["Say {t} {n} times.", "Repeat {t} {n} times.", "Write {t} {n} times."])
        return _dress(rng, ask.format(t=text, n=word)), " ".join([text] * n)
    ask = rng.choice(["Say {t}.", "Repeat after me: {t}", "Repeat: {t}", "Say: {t}", "Echo {t}.",
                      'Say "{t}".', 'Repeat "{t}".', "Please say {t}.", "Write {t}."])
    return ask.format(t=text), text


def transform(rng):
    """Ask for a word in capitals, spelt, or a plain fact about it."""
    word = rng.choice(ev.WORDS)
    kind = rng.randrange(3)
    if kind == 0:
        ask = rng.choice(["Write {w} in capital letters.", "Write {w} in upper case.",
                          "Uppercase: {w}", "{w} in capitals"])
        return ask.format(w=word), word.upper()
    if kind == 1:
        ask = rng.choice(["Spell {w}.", "How do you spell {w}?", "Spell the word {w}."])
        return _dress(rng, ask.format(w=word)), "-".join(word)
    ask = rng.choice(["What letter does {w} start with?", "First letter of {w}",
                      "What is the first letter of {w}?"])
    answer = f"{_cap(word)} starts with the letter {word[0].upper()}."
    return _dress(rng, ask.format(w=word)), answer


def count(rng):
    """Ask to count up or down."""
    low, high = 1, rng.randint(2, 20)
    if rng.random() < 0.3:
        low = rng.randint(2, 15)
        high = low + rng.randint(1, 8)
        ask = rng.choice(["Count from {l} to {h}.", "Write the numbers from {l} to {h}."])
    else:
        ask = rng.choice(["Count to {h}.", "Count from 1 to {h}.", "Can you count to {h}?",
                          "Please count to {h}.", "Count up to {h}.",
                          "Write the numbers from 1 to {h}."])
    numbers = [str(i) for i in range(low, high + 1)]
    if low == 1 and rng.random() < 0.15:
        ask = rng.choice(["Count down from {h}.", "Count down from {h} to 1."])
        numbers.reverse()
    spelt = high <= 20 and rng.random() < 0.2
    top = ev.NUMBERS[high] if spelt else high
    return _dress(rng, ask.format(l=low, h=top)), ", ".join(numbers) + "."


def fact(rng):
    """Ask for one of the facts that fit no table."""
    question, answer = rng.choice(ev.FACTS)
    if question.startswith("What is") and rng.random() < 0.3:
        question = "Tell me w" + question[1:]
    return _dress(rng, question), answer


def identity(rng):
    """Ask who the model is."""
    question, answer = rng.choice(ev.IDENTITY)
    return _dress(rng, question), answer


def greeting(rng):
    """Greet, thank or take leave."""
    if rng.random() < 0.2:
        tongue, hello, thanks = rng.choice(ev.GREETINGS_ABROAD)
        word, abroad = rng.choice([("hello", hello), ("thank you", thanks)])
        ask = rng.choice(["How do you say {w} in {t}?", "Say {w} in {t}.", "{w} in {t}"])
        return _dress(rng, ask.format(w=word, t=tongue)), f"In {tongue}, {word} is {abroad}."
    question, answer = rng.choice(ev.GREETINGS)
    return _dress(rng, question), answer


_SYLLABLES = ("ba dor el fan gor hi jul kra lum mor nen pol quo ria sto tan ul vex wim xan "
              "yor zu").split()
_UNKNOWN_ASKS = [
    "Who is the president of {c}?", "Who won the match yesterday?", "What is the weather today?",
    "What time is it?", "Who wrote {x}?", "What is the meaning of {x}?", "Who is {x}?",
    "What will happen tomorrow?", "How old is {x}?", "What is the population of {c}?",
    "Explain {x} to me.", "What did I eat today?", "When was {x} born?", "What is {x}?",
    "Write a program in Python.", "Translate {x} into {l}.", "What is the news?",
    "How do I repair my car?", "Who was the first king of {c}?", "Where is {x}?",
    "How many people live in {c}?", "What is the best film?", "Where did I put my keys?",
    "Why is the {w} so {y}?", "Why is {c} famous?", "Why do people like the {w}?",
    "Write a poem about the {w}.", "Write a poem.", "Sing a song about the {w}.",
    "Who invented the {w}?", "How does a {w} work?", "When did {c} begin?", "Tell me a joke.",
    "What should I cook with {w}?", "How do I build a {w}?", "Draw a {w}.",
    "Write an essay on {w}.", "Why is the sky blue?", "Explain the {w}.",
    "Give me advice about my {w}.",
]


def _invented(rng):
    return _cap("".join(rng.sample(_SYLLABLES, rng.randint(2, 3))))


def unknown(rng):
    """Ask what the model cannot know."""
    if rng.random() < 0.35:
        question = rng.choice(ph.CAPITAL).format(c=_invented(rng))
        return _dress(rng, question), UNKNOWN
    c = rng.choice(COUNTRIES)
    question = rng.choice(_UNKNOWN_ASKS).format(
        c=c.name, x=_invented(rng), l=c.language, w=rng.choice(ev.WORDS),
        y=rng.choice(rng.choice(ev.OPPOSITES)))
    return _dress(rng, question), UNKNOWN


def large_sum(rng):
    """Ask for a sum beyond what the model learns."""
    a, b = rng.randint(21, 999), rng.randint(0, 999)
    op = rng.choice("+-*")
    question = rng.choice(_ASK_SUM[:-2]).format(e=rng.choice(_OPS[op]).format(a=a, b=b))
    return question, "I can only work with numbers below 20."


SINGLE = [
    (capital, 20), (continent, 5), (language, 5), (currency, 4), (about, 2), (country_of, 3),
    (is_capital, 1.5), (arithmetic, 20), (large_sum, 1.5), (compare, 2), (animal, 5), (colour, 4),
    (opposite, 2.5), (order, 2), (listing, 2), (repeat, 14), (transform, 1.5), (count, 5),
    (fact, 3), (identity, 2), (greeting, 2), (unknown, 5), (stories.asked, 15),
]
_KINDS, _WEIGHTS = zip(*SINGLE)


def exchange(rng):
    """One question and its answer, of any kind."""
    return rng.choices(_KINDS, _WEIGHTS)[0](rng)


def _turns(pairs):
    return [turn for q, a in pairs for turn in (("user", q), ("assistant", a))]


def follow_up(rng):
    """A chat that goes on from one country to others or to its other facts."""
    first = rng.choice(COUNTRIES)
    pairs = [capital(rng, first)]
    for _ in range(rng.randint(1, 2)):
        if rng.random() < 0.6:
            c = rng.choice(COUNTRIES)
            ask = rng.choice(["And of {c}?", "And {c}?", "What about {c}?", "and {c}", "{c}?",
                              "And what is the capital of {c}?"])
            pairs.append((_dress(rng, ask.format(c=c.name)),
                          f"The capital of {c.name} is {c.capital}."))
            first = c
        else:
            ask, answer = rng.choice([
                ("Which continent is that in?", _continent_answer(first)),
                ("Where is that?", _continent_answer(first)),
                ("What language do they speak there?",
                 f"People in {first.name} speak {first.language}."),
                ("What currency do they use there?",
                 f"The currency of {first.name} is the {first.currency}.")])
            pairs.append((_dress(rng, ask), answer))
    return _turns(pairs)


def one_word(rng):
    """A system message that asks for the bare answer, and a question that has one."""
    c = rng.choice(COUNTRIES)
    make, value = rng.choice([(capital, c.capital), (capital, c.capital),
                              (language, c.language), (continent, c.continent)])
    question = make(rng, c)[0]
    order_ = rng.choice(ev.ONE_WORD_SYSTEMS)
    if rng.random() < 0.5:
        return [("user", f"{question.rstrip('?.!')}? {order_}"), ("assistant", value + ".")]
    return [("system", order_), ("user", question), ("assistant", value + ".")]


def bare_text(rng):
    """Text outside any chat: a sentence or a story."""
    if rng.random() < 0.15:
        return [("text", stories.story(rng))]
    make = rng.choice([capital, capital, capital, capital, language, continent, animal, arithmetic])
    return [("text", make(rng)[1])]


def document(rng):
    """One short document."""
    kind = rng.random()
    if kind < 0.05:
        return bare_text(rng)
    if kind < 0.11:
        return drill(rng)
    if kind < 0.14:
        return one_word(rng)
    if kind < 0.20:
        return follow_up(rng)
    turns = _turns(exchange(rng) for _ in range(2 if rng.random() < 0.08 else 1))
    if rng.random() < 0.15:
        turns.insert(0, ("system", rng.choice(ev.SYSTEMS)))
    return turns


def long_chat(rng, exchanges):
    """One chat of many exchanges, for training at the full context."""
    turns = [("system", rng.choice(ev.SYSTEMS))] if rng.random() < 0.3 else []
    while len(turns) < 2 * exchanges:
        turns += follow_up(rng) if rng.random() < 0.25 else _turns([exchange(rng)])
    return turns


def wrap(role):
    """What stands before and after a turn's text."""
    if role in ("given", "result"):
        return "", ""
    return ("", END) if role == "text" else (f"{START}{role}\n", f"{END}\n")


def render(turns):
    """A document as training text, BOS first."""
    return BOS + "".join(wrap(role)[0] + text + wrap(role)[1] for role, text in turns)


def prompt(question, system=None):
    """A single-turn prompt up to where the answer begins."""
    turns = ([("system", system)] if system else []) + [("user", question)]
    return render(turns) + f"{START}assistant\n"


def documents(seed, make=document):
    """Yield documents for ever."""
    rng = random.Random(seed)
    while True:
        yield make(rng)


def _main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    source = documents(seed)
    for _ in range(20):
        print(render(next(source)))
    print(render(next(documents(seed, partial(long_chat, exchanges=6)))))


if __name__ == "__main__":
    _main()
