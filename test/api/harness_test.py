#!/usr/bin/env python3
"""What evaluation harnesses ask of /v1/completions, read as lm-eval's local-completions reads it,
beside `realm score`.   usage: harness_test.py REALM
"""
import json
import subprocess
import sys
import urllib.request

import server
from server import test

PAIRS = [("The capital of France is", " Paris."), ("The capital of France is", " a red ball."),
         ("Once upon a time", " there was"), ("What is", " the capital of France?"),
         # The likeliest token after it ends the answer, and is drawn all the same.
         ("The capital of France", " is Paris.")]


def post(s, path, body):
    request = urllib.request.Request(s.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ids_of(s, text, start):
    return post(s, "/tokenize", {"content": text, "add_special": start})["tokens"]


def score(ids):
    """The log-probabilities of ids as this program finds them without a server."""
    out = subprocess.run([sys.argv[1], "score", "--kv", "f16", "--json", "--ids",
                          ",".join(map(str, ids))], capture_output=True, check=True, text=True)
    return [t["logprob"] for t in json.loads(out.stdout)["tokens"]]


def loglikelihoods(s, prompts, begins, **more):
    """Sums of what comes after each begin, and whether it is what greedy answers would say."""
    answer = post(s, "/v1/completions", {
        "model": "tiny-q8_0", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1,
        "seed": 1234, "echo": True, **more})
    found = []
    for choice, begin in zip(sorted(answer["choices"], key=lambda c: c["index"]), begins,
                             strict=True):
        # The last is of the token that max_tokens asks for.
        each = choice["logprobs"]["token_logprobs"][begin:-1]
        top = choice["logprobs"]["top_logprobs"][begin:-1]
        found.append((each, all(a == max(t.values()) for a, t in zip(each, top, strict=True))))
    return found


def split(s):
    parts = [(ids_of(s, a, True), ids_of(s, b, False)) for a, b in PAIRS]
    return [a + b for a, b in parts], [len(a) for a, _ in parts]


@test
def loglikelihoods_are_those_of_realm_score(s):
    prompts, begins = split(s)
    for ids, begin, (each, _) in zip(prompts, begins, loglikelihoods(s, prompts, begins)):
        wanted = score(ids)[begin:]
        assert len(each) == len(wanted) > 0, (each, wanted)
        assert all(abs(a - b) < 1e-5 for a, b in zip(each, wanted)), (each, wanted)


@test
def greedy_is_told(s):
    found = loglikelihoods(s, *split(s))
    assert found[0][1] is True and found[1][1] is False
    assert sum(found[0][0]) > -0.1 and sum(found[1][0]) < -5


@test
def one_by_one_is_the_same_as_a_batch(s):
    prompts, begins = split(s)
    for together, ids, begin in zip(loglikelihoods(s, prompts, begins), prompts, begins):
        assert loglikelihoods(s, ids, [begin]) == [together]


@test
def nothing_drawn(s):
    """max_tokens 0, as older harnesses ask: rows for the prompt and no others."""
    prompts, _ = split(s)
    answer = post(s, "/v1/completions", {"prompt": prompts, "echo": True, "max_tokens": 0,
                                         "logprobs": 1})
    for ids, choice in zip(prompts, answer["choices"], strict=True):
        assert len(choice["logprobs"]["token_logprobs"]) == len(ids)
    assert answer["usage"]["completion_tokens"] == 0


@test
def generate_until(s):
    answer = post(s, "/v1/completions", {
        "model": "tiny-q8_0", "prompt": [ids_of(s, PAIRS[0][0], True)] * 2, "max_tokens": 16,
        "temperature": 0, "stop": ["\n\n", "."], "seed": 1234})
    assert [c["text"] for c in answer["choices"]] == [" Paris"] * 2


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
