#!/usr/bin/env python3
"""llama-server's and Anthropic's answers, member by member.   usage: answers_test.py REALM GUEST"""
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request

import server
from server import test

FRANCE = "The capital of France is"
SETTINGS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1,
            "presence_penalty": 0, "frequency_penalty": 0, "seed": 4294967295, "mirostat": 0}


def ask(s, path, body, expect=200):
    """The answer's text and header."""
    status, text, head = s.ask(path, body)
    assert status == expect, (status, text)
    return text, head


def post(s, path, body, expect=200):
    return json.loads(ask(s, path, body, expect)[0])


def events(s, path, body):
    """Names and data of a stream's events."""
    found = []
    for block in ask(s, path, {**body, "stream": True})[0].split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if lines.get("data", "[DONE]") != "[DONE]":
            found.append((lines.get("event"), json.loads(lines["data"])))
    return found


def near(a, b):
    return abs(a - b) < 1e-6


def bos(s):
    return post(s, "/tokenize", {"content": "", "add_special": True})["tokens"]


@test
def prompts_of_ids_and_text(s):
    ids = post(s, "/tokenize", {"content": FRANCE})["tokens"]
    want = {"n_predict": 3, "temperature": 0}
    one = post(s, "/completion", {"prompt": FRANCE, **want})
    assert one["content"] == " Paris." and one["tokens_evaluated"] == len(bos(s)) + len(ids)
    by_id = post(s, "/completion", {"prompt": bos(s) + ids, **want})
    assert by_id["content"] == " Paris." and by_id["prompt"].endswith(FRANCE)
    assert by_id["tokens_evaluated"] == one["tokens_evaluated"]
    # Text first has BOS before it, ids first have none.
    for mixed in (["The capital", *ids[2:]], [*bos(s), *ids[:3], " France is"]):
        out = post(s, "/completion", {"prompt": mixed, **want})
        assert out["tokens_evaluated"] == one["tokens_evaluated"], (mixed, out)
        assert out["content"] == " Paris.", (mixed, out)
    both = post(s, "/completion", {"prompt": [FRANCE, ["The capital", *ids[2:]]], **want})
    assert [b["content"] for b in both] == [" Paris."] * 2
    assert post(s, "/completion", {"prompt": ["a", 1 << 20]}, 400)["error"]["param"] == "prompt"


@test
def long_answers_are_those_of_a_stream(s):
    """So long that it is not the server's thread that writes them."""
    want = {"prompt": FRANCE, "n_predict": 200, "n_probs": 20, "n": 4, "seed": 5,
            "ignore_eos": True}
    texts, found = ["", "", "", ""], [[], [], [], []]
    for _, event in events(s, "/completion", want):
        texts[event["index"]] += event["content"]
        found[event["index"]] += event.get("completion_probabilities", [])
    answers, head = ask(s, "/completion", want)
    assert len(answers) > 1 << 20 and head["x-request-id"]
    answers = json.loads(answers)
    assert [a["content"] for a in answers] == texts
    assert [a["completion_probabilities"] for a in answers] == found
    assert all(len(a["completion_probabilities"]) == 200 for a in answers)


@test
def settings(s):
    out = post(s, "/completion", {"prompt": "a", "n_predict": 2})["generation_settings"]
    for name, value in SETTINGS.items():
        assert near(out[name], value), (name, out[name])
    assert out["n_predict"] == 2 and out["stop"] == [] and out["stream"] is False
    out = post(s, "/completion", {"prompt": "a", "n_predict": 1, "seed": 7, "stop": ["x", "y"],
                                  "logit_bias": [[5, -1.5]], "ignore_eos": True, "n_probs": 3,
                                  "repeat_penalty": 1.25})["generation_settings"]
    assert out["seed"] == 7 and out["stop"] == ["x", "y"] and out["ignore_eos"] is True
    assert out["logit_bias"] == [{"bias": -1.5, "token": 5}] and out["n_probs"] == 3
    assert near(out["repeat_penalty"], 1.25)


@test
def props(s):
    with urllib.request.urlopen(s.url + "/props", timeout=60) as answer:
        out = json.load(answer)
    params = out["default_generation_settings"]["params"]
    for name, value in SETTINGS.items():
        assert near(params[name], value), (name, params[name])
    assert params["n_predict"] == -1 and out["default_generation_settings"]["n_ctx"] == 1024
    assert out["model_path"] == "tiny-q8_0" and "/" not in out["model_path"]
    assert "<|im_start|>" in out["chat_template"] and out["build_info"].startswith("realm-")
    try:
        urllib.request.urlopen(s.url + "/props?model=none", timeout=60)
    except urllib.error.HTTPError as error:
        assert error.code == 404
    else:
        raise AssertionError("a model that there is not")


@test
def streams_of_llama(s):
    body = {"prompt": FRANCE, "n_predict": 12, "temperature": 0, "n_probs": 1,
            "timings_per_token": True}
    whole = post(s, "/completion", {**body, "return_tokens": True})
    found = [data for _, data in events(s, "/completion", body)]
    *parts, last = found
    assert "".join(p["content"] for p in parts) == whole["content"] and last["content"] == ""
    # Ids are there without being asked for; the sum of all is the answer.
    assert sum((p["tokens"] for p in found), []) == whole["tokens"]
    for i, p in enumerate(parts, 1):
        assert p["stop"] is False and p["tokens_predicted"] == i
        assert p["tokens_evaluated"] == whole["tokens_evaluated"] > 0
        assert p["completion_probabilities"][0]["id"] == p["tokens"][0]
        assert p["timings"]["predicted_n"] == i and p["timings"]["prompt_ms"] > 0
    assert last["stop"] is True and "completion_probabilities" not in last
    for name in ("tokens_predicted", "tokens_evaluated", "tokens_cached", "stop_type", "prompt",
                 "has_new_line", "truncated", "stopping_word", "model"):
        assert last[name] == whole[name], name
    plain = events(s, "/completion", {"prompt": FRANCE, "n_predict": 2, "temperature": 0})
    assert "timings" not in plain[0][1] and "timings" in plain[-1][1]
    assert post(s, "/completion", {"prompt": FRANCE, "n_predict": 2})["tokens"] == []


@test
def characters_of_several_tokens(s):
    text = "é🙂"
    ids = post(s, "/tokenize", {"content": text})["tokens"]
    assert len(ids) > 2, "the vocabulary has them as bytes"
    pieces = post(s, "/tokenize", {"content": text, "with_pieces": True})["tokens"]
    assert bytes(sum((p["piece"] for p in pieces), [])).decode() == text
    assert post(s, "/detokenize", {"tokens": ids})["content"] == text
    assert "\ufffd" in post(s, "/detokenize", {"tokens": ids[:-1]})["content"]


@test
def tokens(s):
    start = post(s, "/tokenize", {"content": "<|im_start|>"})["tokens"]
    assert len(start) == 1
    plain = post(s, "/tokenize", {"content": "<|im_start|>", "parse_special": False})["tokens"]
    assert len(plain) > 3 and not set(plain) & set(start)
    mixed = post(s, "/tokenize", {"content": ["a", *start, "b"], "add_special": True})["tokens"]
    assert mixed == (bos(s) + post(s, "/tokenize", {"content": "a"})["tokens"] + start +
                     post(s, "/tokenize", {"content": "b"})["tokens"])
    assert post(s, "/tokenize", {"content": []})["tokens"] == []
    assert post(s, "/detokenize", {"tokens": []})["content"] == ""
    for path, body, param in (("/tokenize", {}, "content"),
                              ("/tokenize", {"content": [True]}, "content"),
                              ("/tokenize", {"content": [-1]}, "content"),
                              ("/tokenize", {"content": "a", "add_special": 1}, "add_special"),
                              ("/tokenize", {"content": "a", "with_pieces": "x"}, "with_pieces"),
                              ("/tokenize", {"content": "a", "model": 5}, "model"),
                              ("/tokenize", {"content": "a " * 300000, "with_pieces": True},
                               "with_pieces"),
                              ("/detokenize", {"tokens": "a"}, "tokens"),
                              ("/detokenize", {"tokens": [1.5]}, "tokens"),
                              ("/detokenize", {"tokens": [2048]}, "tokens")):
        assert post(s, path, body, 400)["error"]["param"] == param, (path, param)
    # Linear time and whole answers up to what a body holds.
    assert len(post(s, "/tokenize", {"content": "a" * 4000000})["tokens"]) == 4000000


@test
def templates_show_what_users_wrote(s):
    out = post(s, "/apply-template", {"messages": [{"role": "user", "content": "a <|im_end|> b"}]})
    assert out == {"prompt": "<|im_start|>user\na <|im_end|> b<|im_end|>\n<|im_start|>assistant\n"}


@test
def timings_of_chats(s):
    # Drawn tokens may end the answer, or have no text to show.
    want = {"max_tokens": 3, "temperature": 0, "timings_per_token": True}
    body = {"messages": [{"role": "user", "content": FRANCE}], **want}
    found = events(s, "/v1/chat/completions", body)
    assert [e["timings"]["predicted_n"] for _, e in found[1:]] == [1, 2, 3, 3], found
    found = events(s, "/v1/completions", {"prompt": FRANCE, **want})
    assert found[0][1]["timings"]["predicted_n"] == 1


@test
def ids_of_messages(s):
    talk = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    for body, path in ((talk, "/v1/messages"), ({**talk, "stream": True}, "/v1/messages"),
                       (talk, "/v1/messages/count_tokens")):
        _, header = ask(s, path, body)
        assert header["request-id"] == header["x-request-id"] != ""
    text, header = ask(s, "/v1/messages", {}, 400)
    assert json.loads(text)["request_id"] == header["request-id"]
    assert ask(s, "/v1/chat/completions", talk)[1]["request-id"] is None
    start = events(s, "/v1/messages", talk)[0]
    count = post(s, "/v1/messages/count_tokens", {"messages": talk["messages"]})["input_tokens"]
    assert start[0] == "message_start" and start[1]["message"]["usage"]["input_tokens"] == count


@test
def docs_list_what_requests_may_have(s):
    """Each member that a call reads, and whether it must be there, as /openapi.json has them."""
    paths = json.loads(s.ask("/openapi.json")[1])["paths"]
    with open(os.path.join(server.ROOT, "docs", "api.md"), encoding="utf-8") as file:
        sections = re.split(r"^### POST (\S+)$", file.read(), flags=re.MULTILINE)
    assert len(sections) == 1 + 2 * 6
    for path, text in zip(sections[1::2], sections[2::2]):
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        lists = re.findall(r"^\*\*(?:honoured|no effect|neutral|refused)\*\*: (.*?)\n\n", text,
                           re.MULTILINE | re.DOTALL)
        found = re.findall(r"`(\w+)`(\*?)", " ".join(lists))
        names = sorted(name for name, _ in found)
        assert names == sorted(schema["properties"]), (
            path, set(names) ^ set(schema["properties"]), len(names))
        assert {n for n, star in found if star} == set(schema["required"]), (path, found)


def thinking_model(folder):
    """The tiny model with a template whose prompts end in thought, in as many bytes."""
    with open(server.TINY, "rb") as file:
        model = file.read()
    begin = model.index(b"{% for message in messages %}")
    end = model.index(b"{% endif %}", begin) + len(b"{% endif %}")
    new = (rb"{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] +"
           rb" '<|im_end|>\n'}}{% endfor %}{{'<|im_start|>assistant\n<think>\n'}}{#</think>#}")
    assert len(new) <= end - begin
    path = os.path.join(folder, "think.gguf")
    with open(path, "wb") as file:
        file.write(model[:begin] + new + b" " * (end - begin - len(new)) + model[end:])
    return path


@test
def thought_has_blocks_of_its_own(s):
    with tempfile.TemporaryDirectory() as folder:
        other = server.Server(sys.argv[1], "-m", thinking_model(folder))
        try:
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4,
                    "temperature": 0}
            (block,) = post(other, "/v1/messages", body)["content"]
            assert block["type"] == "thinking" and block["thinking"] and block["signature"] == ""
            found = events(other, "/v1/messages", body)
            assert found[1] == ("content_block_start", {
                "type": "content_block_start", "index": 0,
                "content_block": {"type": "thinking", "thinking": "", "signature": ""}})
            assert found[2][1]["delta"]["type"] == "thinking_delta"
            assert [name for name, _ in found[-3:]] == ["content_block_stop", "message_delta",
                                                         "message_stop"]
            whole = post(other, "/v1/chat/completions", body)["choices"][0]["message"]
            assert whole["reasoning_content"] == block["thinking"] and whole["content"] == ""
            deltas = [e["choices"][0]["delta"]
                      for _, e in events(other, "/v1/chat/completions", body)]
            assert "".join(d.get("reasoning_content", "") for d in deltas) == block["thinking"]
            assert not any(d.get("content") for d in deltas), deltas
        finally:
            other.stop()


@test
def a_guest_answers(s):
    other = server.Server(sys.argv[1], "--guest", sys.argv[2])
    try:
        # The door's own min_p is no wish of the client's, his is.
        out = post(other, "/completion", {"prompt": FRANCE, "n_predict": 3, "temperature": 0})
        assert out["content"] == " Paris." and out["tokens_predicted"] == 3
        refused = post(other, "/completion", {"prompt": FRANCE, "min_p": 0.1}, 400)
        assert refused["error"]["param"] == "min_p"
        found = events(other, "/v1/messages", {
            "messages": [{"role": "user", "content": FRANCE}], "max_tokens": 3, "temperature": 0})
        assert found[-2][1]["usage"]["output_tokens"] == 3
        assert "timings" not in out and "timings" not in found[-2][1]
    finally:
        other.stop()


def wait_models(s, wanted):
    until = time.monotonic() + server.PATIENCE_S
    while True:
        found = {m["id"]: (m["state"], m["pinned"])
                 for m in json.loads(s.ask("/v1/models")[1])["data"]}
        if found == wanted:
            return
        assert time.monotonic() < until, found
        time.sleep(0.02)


@test
def names_do_not_matter_to_clients_of_llama_server(s):
    """But to the operator they do, who has models loaded and kept."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("main", "early", "kept"):
            shutil.copy(server.TINY, os.path.join(folder, name + ".gguf"))
        other = server.Server(sys.argv[1], "--compat", "llama-server", config=(
            f"models: {{dir: {folder}, default: main, preload: [early], pin: [kept], "
            "idle_unload_s: 8}\nlog: {format: json}\n"))
        try:
            wait_models(other, {"main": ("unloaded", False), "early": ("loaded", False),
                                "kept": ("loaded", True)})
            body = {"model": "gpt-4", "prompt": FRANCE, "n_predict": 3, "temperature": 0}
            out = post(other, "/completion", body)
            assert out["content"] == " Paris." and out["model"] == "main", out
            assert post(s, "/completion", body, 404)["error"]["code"] == "model_not_found"
            # What nobody asks for goes, but for what is pinned.
            wait_models(other, {"main": ("unloaded", False), "early": ("unloaded", False),
                                "kept": ("loaded", True)})
            assert other.admin("POST", "/admin/models/early/load")["id"] == "early"
            lines = [json.loads(line) for line in other.text().splitlines()]
            assert any(line.get("endpoint") == "llama_completion" and line["model"] == "main"
                       and line["request_id"].startswith("req_") for line in lines), lines
        finally:
            other.stop()


@test
def names_with_a_slash(s):
    other = server.Server(sys.argv[1], config=f"models:\n  default: {server.TINY}\n"
                          "  aliases: {lab/small: tiny-q8_0}\n")
    try:
        for name in ("lab/small", "lab%2Fsmall", "lab%2fsmall"):
            with urllib.request.urlopen(f"{other.url}/v1/models/{name}", timeout=60) as answer:
                assert json.load(answer)["id"] == "lab/small"
        for query in ("model=lab%2Fsmall", "x=1&model=lab/small", "model=&x"):
            with urllib.request.urlopen(f"{other.url}/props?{query}", timeout=60) as answer:
                assert json.load(answer)["model_alias"] == "tiny-q8_0", query
        for query, want in (("model=%zz", 400), ("a=1&model=none", 404)):
            try:
                urllib.request.urlopen(f"{other.url}/props?{query}", timeout=60)
                raise AssertionError(query)
            except urllib.error.HTTPError as error:
                assert error.code == want, (query, error.code)
    finally:
        other.stop()


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
