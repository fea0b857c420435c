#!/usr/bin/env python3
"""Encoders behind OpenAI's Python client and llama-server's calls.  What they give is compared
with test/golden/encoder_ref.py, which the Python of build-venv runs.

    encoders_test.py REALM PYTHON
"""
import json
import math
import os
import subprocess
import sys
import tempfile

import openai

import server
from server import test

GOLDEN = os.path.join(server.ROOT, "test", "golden")
MODELS = ("bert", "bert-cls", "nomic-bert")
OWN = {"bert": "mean", "bert-cls": "cls", "nomic-bert": "mean"}
TEXTS = ["the cat sat on the mat", "two and two", "who was the red dog"]
LIMIT = 1e-4
CONTEXT = 1300


def python(*args):
    return subprocess.run([sys.argv[2], *args], cwd=GOLDEN, check=True, capture_output=True,
                          text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).stdout


def reference(folder, model, pooling, texts):
    lines = python("encoder_ref.py", os.path.join(folder, model + ".gguf"), pooling, *texts)
    return [json.loads(line) for line in lines.splitlines()]


def client(s):
    return openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0)


def near(got, want):
    return max(abs(a - b) for a, b in zip(got, want, strict=True)) < LIMIT


def post(s, path, body, expect=200):
    status, text, _ = s.ask(path, body)
    assert status == expect, (status, text)
    return json.loads(text)


@test
def embeddings_are_the_references(s, folder):
    for model in MODELS:
        want = reference(folder, model, OWN[model], TEXTS)
        answer = client(s).embeddings.create(model=model, input=TEXTS)
        assert answer.model == model and [d.index for d in answer.data] == [0, 1, 2]
        assert all(near(d.embedding, w) for d, w in zip(answer.data, want))
        assert answer.usage.prompt_tokens == sum(len(t.split()) + 2 for t in TEXTS)
        for d in answer.data:
            assert abs(math.fsum(x * x for x in d.embedding) - 1) < 1e-6


@test
def all_poolings(s, folder):
    for pooling in ("mean", "cls", "last"):
        want = reference(folder, "bert", pooling, TEXTS[:1])[0]
        answer = client(s).embeddings.create(model="bert", input=TEXTS[0],
                                             extra_body={"pooling": pooling})
        assert near(answer.data[0].embedding, want), pooling


@test
def a_text_is_the_same_in_any_company(s, _):
    c = client(s)
    texts = [TEXTS[i % 3] + " cat" * (i % 40) for i in range(200)]
    together = c.embeddings.create(model="bert", input=texts).data
    for i in (0, 7, 119, 199):
        alone = c.embeddings.create(model="bert", input=texts[i]).data[0]
        assert alone.embedding == together[i].embedding  # bit for bit


@test
def as_llama_server_has_it(s, folder):
    want = reference(folder, "bert", "mean", TEXTS)
    for path, name in (("/embedding", "content"), ("/embeddings", "input")):
        answer = post(s, path, {"model": "bert", name: TEXTS})
        assert [a["index"] for a in answer] == [0, 1, 2]
        assert all(near(a["embedding"][0], w) for a, w in zip(answer, want))
    raw = post(s, "/embedding", {"model": "bert", "content": TEXTS[0], "embd_normalize": -1})
    length = math.sqrt(math.fsum(x * x for x in raw[0]["embedding"][0]))
    assert abs(length - 1) > 0.1 and near([x / length for x in raw[0]["embedding"][0]], want[0])
    assert post(s, "/embedding", {"model": "bert"}, 400)["error"]["param"] == "content"
    both = {"model": "bert", "content": "a", "input": "a"}
    assert "not both" in post(s, "/embedding", both, 400)["error"]["message"]
    other = {"model": "bert", "content": "a", "embd_normalize": 1}
    assert post(s, "/embedding", other, 400)["error"]["param"] == "embd_normalize"


@test
def nothing_is_generated(s, _):
    messages = [{"role": "user", "content": "the cat"}]
    bodies = (("/v1/chat/completions", {"messages": messages}),
              ("/v1/completions", {"prompt": "the cat"}),
              ("/v1/completions", {"prompt": "the cat", "echo": True, "max_tokens": 0,
                                   "logprobs": 1}),
              ("/completion", {"prompt": "the cat"}),
              ("/v1/messages", {"messages": messages, "max_tokens": 5}))
    for path, body in bodies:
        error = post(s, path, {"model": "bert", **body}, 400)["error"]
        assert "makes embeddings alone" in error["message"], (path, error)
    try:
        client(s).chat.completions.create(model="bert", messages=messages)
        raise AssertionError("it answered")
    except openai.BadRequestError as e:
        assert e.code == "model_only_embeds" and e.param == "model"


@test
def a_long_text_is_refused(s, _):
    c = client(s)
    fits = c.embeddings.create(model="bert", input=" ".join(["cat"] * (CONTEXT - 2)))
    assert fits.usage.prompt_tokens == CONTEXT
    try:
        c.embeddings.create(model="bert", input=" ".join(["cat"] * (CONTEXT - 1)))
        raise AssertionError("it was taken")
    except openai.BadRequestError as e:
        assert e.code == "context_length_exceeded" and str(CONTEXT) in e.message


@test
def nothing_is_kept(s, _):
    for _ in range(2):
        client(s).embeddings.create(model="bert", input=TEXTS[0] * 20)
    assert s.metric("realm_kv_pages_used") == 0
    assert s.metrics().get("realm_kv_pages_cached", 0) == 0


if __name__ == "__main__":
    if not os.path.exists(sys.argv[2]):
        print("1..0 # SKIP build-venv/ is not there: run scripts/setup")
        sys.exit(0)
    with tempfile.TemporaryDirectory() as models:
        for name in MODELS:
            python("encoder_models.py", name, os.path.join(models, name + ".gguf"))
        server.main(server.Server(sys.argv[1], "--models", models), models)
