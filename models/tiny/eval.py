"""Measures the tiny model: capitals, small sums, and whether answers survive sampling.

Every answer is sampled as `realm run` does by default: repetition penalty 1.1, top-k
40, top-p 0.9. Accuracies are at temperature 0; the France prompts at 0.7, 100 seeds.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np

import batches
import corpus
import engines
import phrasings as ph
import stories
from countries import COUNTRIES

FRANCE = ["What is the capital of France?", "capital of France", "France capital"]
FRANCE_MORE = ["what is the capital of france", "Tell me the capital of France.",
               "The capital of France is"]
SEEDS = 100
TARGETS = {"held-out phrasings": 95.0, "held-out pairs": 95.0, "small sums": 80.0}


LIMITS = {"counting": 100}


def _share(engine, asked, verbose, limit=40):
    """Percentage of (prompt, wanted) pairs whose answer holds what is wanted."""
    prompts, wanted = zip(*asked)
    answers = engine.answers(list(prompts), limit=limit)
    wrong = [(p, a) for p, w, a in zip(prompts, wanted, answers) if w not in a]
    for prompt, answer in wrong if verbose else []:
        print(f"    wrong: {prompt} -> {answer}", flush=True)
    return 100.0 * (len(asked) - len(wrong)) / len(asked)


def _is(country):
    """The end of a right answer: `Niger is Niamey.` must not pass as `Nigeria is Abuja.`"""
    return f"{country.name} is {country.capital}."


def held_out_phrasings():
    """Every country in every phrasing that training never used."""
    return [(form.format(c=c.name), _is(c)) for form in ph.CAPITAL_HELD_OUT for c in COUNTRIES]


def held_out_pairs():
    """Trained phrasings, each with the countries it was kept from."""
    return [(form.format(c=c.name), _is(c)) for form in ph.CAPITAL for c in COUNTRIES
            if ph.held_out(c.name, form)]


def _sum(a, op, b):
    return f"What is {a} {op} {b}?", f"= {corpus.calculate(a, op, b)}."


def sums():
    """All additions and subtractions of two numbers below 20, results not below zero."""
    plus = [_sum(a, "+", b) for a in range(20) for b in range(20)]
    return plus + [_sum(a, "-", b) for a in range(20) for b in range(a + 1)]


def unseen_sums():
    """The additions that training never showed."""
    return [_sum(a, "+", b) for a in range(20) for b in range(20)
            if corpus.sum_held_out(a, "+", b)]


def negatives():
    """Subtractions below zero."""
    return [_sum(a, "-", b) for b in range(20) for a in range(b)]


def products(low, high):
    """Multiplications whose larger factor lies between two bounds."""
    return [_sum(a, "*", b) for a in range(high + 1) for b in range(high + 1)
            if low <= max(a, b)]


def country_facts(make, value):
    """One trained question about each country's other facts, in a seeded phrasing."""
    rng = random.Random(7)
    return [(make(rng, c)[0], value(c)) for c in COUNTRIES]


def everyday(make, count=200):
    """Seeded questions of one kind with their answers."""
    rng = random.Random(11)
    return [make(rng) for _ in range(count)]


def tests():
    """Each measure's name with its questions."""
    return {
        "held-out phrasings": held_out_phrasings(),
        "held-out pairs": held_out_pairs(),
        "small sums": sums(),
        "of these, sums never shown": unseen_sums(),
        "below zero": negatives(),
        "products to 12 x 12": products(0, 12),
        "products of 13 to 19": products(13, 19),
        "continents": country_facts(corpus.continent, lambda c: c.continent),
        "languages": country_facts(corpus.language, lambda c: c.language),
        "currencies": country_facts(corpus.currency, lambda c: c.currency),
        "animals": everyday(corpus.animal),
        "colours": everyday(corpus.colour),
        "opposites": everyday(corpus.opposite),
        "counting": everyday(corpus.count, 60),
        "repeating": everyday(corpus.repeat, 100),
        "unknown": everyday(corpus.unknown, 100),
    }


def france(engine, prompt):
    """How many of the seeds answer Paris at temperature 0.7, and one that did not."""
    answers = engine.answers([prompt] * SEEDS, 0.7, list(range(SEEDS)))
    wrong = [a for a in answers if "Paris" not in a]
    return SEEDS - len(wrong), wrong[:1]


def _holds_together(hero, text):
    """Whether a story ends, is about its hero, and names two persons throughout."""
    words = text.replace(",", " ").replace(".", " ").replace('"', " ").split()
    people = [word for word in words if word in stories.NAMES]
    return hero in words and len(set(people)) == 2 and text[-1:] == "."


def whole_stories(engine, count=50):
    """Percentage of stories asked for at temperature 0.7 that hold together."""
    heroes = random.Random(5).choices(stories.HEROES, k=count)
    prompts = [f"Tell me a story about {stories.article(hero)}." for hero in heroes]
    told = engine.answers(prompts, 0.7, list(range(count)), 200)
    return 100.0 * sum(map(_holds_together, heroes, told)) / count


def loss_by_place(engine, chats=16):
    """Mean loss on answers of long chats, by block of 128 places."""
    source = corpus.documents(99, lambda rng: corpus.long_chat(rng, 60))
    total, weight = np.zeros(1023), np.zeros(1023)
    for _ in range(chats):
        ids, weights = batches.encode(engine.tokenizer, next(source))
        logits = engines.all_logits(engine.weights, ids[:1023]).astype(np.float64)
        chance = engines.log_softmax(logits)
        answer = np.array(weights[1:1024]) == 1.0
        total += -chance[np.arange(1023), ids[1:1024]] * answer
        weight += answer
    edges = range(0, 1023, 128)
    return [total[e:e + 128].sum() / weight[e:e + 128].sum() for e in edges]


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("tiny-q8_0.gguf"))
    parser.add_argument("--engine", choices=["realm", "jax"], default="realm")
    parser.add_argument("--realm", type=Path, default=Path("build/realm"), help="the program")
    parser.add_argument("--only", help="measures whose name holds this text")
    parser.add_argument("-v", "--verbose", action="store_true", help="print wrong answers")
    return parser.parse_args()


def main():
    """Print every measure; fail if one misses its target."""
    args = _arguments()
    engine = (engines.JaxEngine(args.model) if args.engine == "jax"
              else engines.RealmEngine(args.realm, args.model))
    missed = []
    for name, asked in tests().items():
        if args.only and args.only not in name:
            continue
        share = _share(engine, asked, args.verbose, LIMITS.get(name, 40))
        print(f"{name}: {share:.1f} % of {len(asked)}", flush=True)
        if share < TARGETS.get(name, 0.0):
            missed.append(name)
    for prompt in FRANCE + FRANCE_MORE if not args.only or args.only in "france" else []:
        right, wrong = france(engine, prompt)
        print(f"{prompt!r} at 0.7: Paris in {right} of {SEEDS} {wrong or ''}", flush=True)
        if right < SEEDS and prompt in FRANCE:
            missed.append(prompt)
    if not args.only or args.only in "stories":
        print(f"stories at 0.7 that hold together: {whole_stories(engine):.0f} % of 50", flush=True)
    if args.engine == "jax" and not args.only:
        losses = " ".join(f"{loss:.3f}" for loss in loss_by_place(engine))
        print(f"loss on answers by 128 places: {losses}")
    if missed:
        sys.exit("below target: " + ", ".join(missed))


if __name__ == "__main__":
    main()
