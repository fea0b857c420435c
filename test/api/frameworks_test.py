#!/usr/bin/env python3
"""langchain-openai and litellm against the real server.   usage: frameworks_test.py REALM"""
import asyncio
import base64
import os
import struct
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks nobody

import litellm
import openai
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from langchain_openai.chat_models.base import OpenAIContextOverflowError

import server
from server import test

litellm.suppress_debug_info = True

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
MODEL = "tiny-q8_0"


def elsewhere(s):
    """By another name, for which nobody has a connection open that is used again."""
    return s.url.replace("127.0.0.1", "localhost") + "/v1"


def kwargs(s):
    return {"model": MODEL, "base_url": s.url + "/v1", "api_key": "none", "max_retries": 0}


@test
def langchain_invokes(s):
    answer = ChatOpenAI(temperature=0, **kwargs(s)).invoke([HumanMessage(QUESTION)])
    assert answer.content == ANSWER
    assert answer.usage_metadata["output_tokens"] > 3
    assert answer.response_metadata["finish_reason"] == "stop"


@test
def langchain_streams(s):
    chunks = list(ChatOpenAI(temperature=0, stream_usage=True, **kwargs(s)).stream(QUESTION))
    assert "".join(c.content for c in chunks) == ANSWER


@test
def langchain_batches(s):
    answers = ChatOpenAI(temperature=0, **kwargs(s)).batch([QUESTION] * 8)
    assert {a.content for a in answers} == {ANSWER}


@test
def langchain_asks_for_logprobs(s):
    answer = ChatOpenAI(temperature=0, logprobs=True, top_logprobs=2, **kwargs(s)).invoke(QUESTION)
    assert len(answer.response_metadata["logprobs"]["content"][0]["top_logprobs"]) == 2


@test
def langchain_passes_settings_on(s):
    def chat(**more):
        return ChatOpenAI(**{"temperature": 0, **more}, **kwargs(s))
    short = chat(max_tokens=3).invoke(QUESTION)
    assert short.response_metadata["finish_reason"] == "length"
    assert short.usage_metadata["output_tokens"] == 3
    assert chat().invoke(QUESTION, stop=["Paris"]).content == "The capital of France is "
    two = chat(n=2, seed=4, temperature=1.5, max_tokens=12)
    texts = [[g.text for g in two.generate([[HumanMessage("Tell me a story.")]]).generations[0]]
             for _ in range(2)]
    assert len(texts[0]) == 2 and texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]
    assert short.response_metadata["model_name"] == MODEL


@test
def langchain_gets_errors(s):
    for kind, code, change, text in (
            (openai.NotFoundError, "model_not_found", {"model": "gpt-4"}, QUESTION),
            (openai.BadRequestError, None, {"top_p": 7}, QUESTION),
            (OpenAIContextOverflowError, "context_length_exceeded", {}, "word " * 4000)):
        try:
            ChatOpenAI(**{**kwargs(s), **change}).invoke(text)
        except kind as e:
            assert e.code == code, (code, e)
            continue
        raise AssertionError(kind)


@test
def langchain_leaves(s):
    def begin():
        chunks = ChatOpenAI(max_tokens=900, extra_body={"ignore_eos": True},
                            **kwargs(s)).stream("Tell me a story.")
        while not next(chunks).content:
            pass
        return chunks.close
    server.leaves(s, "chat", begin)


@test
def langchain_comes_again(s):
    def call():
        chat = ChatOpenAI(temperature=0, **{**kwargs(s), "max_retries": 2,
                                              "base_url": elsewhere(s)})
        assert chat.invoke(QUESTION).content == ANSWER
    server.retries(s, call)


@test
def langchain_completes(s):
    assert OpenAI(temperature=0, max_tokens=4, **kwargs(s)).invoke(
        "The capital of France is") == " Paris."


@test
def langchain_embeds(s):
    embed = OpenAIEmbeddings(check_embedding_ctx_length=False, **kwargs(s))
    a, b = embed.embed_documents(["a ball", "two and two"])
    assert len(a) == len(b) and a != b
    assert max(abs(x - y) for x, y in zip(embed.embed_query("a ball"), a)) < 1e-6


def lite(s, provider, **more):
    base = s.url + ("/v1" if provider == "openai" else "")
    return litellm.completion(model=f"{provider}/{MODEL}", api_base=base, api_key="none",
                              messages=[{"role": "user", "content": QUESTION}], temperature=0,
                              num_retries=0, **more)


@test
def litellm_speaks_openai(s):
    assert lite(s, "openai").choices[0].message.content == ANSWER
    chunks = list(lite(s, "openai", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ANSWER


@test
def litellm_speaks_anthropic(s):
    assert lite(s, "anthropic", max_tokens=50).choices[0].message.content == ANSWER
    chunks = list(lite(s, "anthropic", max_tokens=50, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ANSWER


@test
def litellm_passes_settings_on(s):
    def ask(provider="openai", **more):
        return lite(s, provider, **more).choices
    assert ask(stop=["Paris"])[0].message.content == "The capital of France is "
    assert ask(max_tokens=3)[0].finish_reason == "length"
    assert ask("anthropic", max_tokens=3)[0].finish_reason == "length"
    assert ask("anthropic", max_tokens=50, stop=["Paris"])[0].message.content == (
        "The capital of France is ")
    two = [c.message.content for c in ask(n=2, seed=1, max_tokens=8)]
    assert two == [c.message.content for c in ask(n=2, seed=1, max_tokens=8)] and len(two) == 2
    top = ask(logprobs=True, top_logprobs=2)[0].logprobs.content
    assert len(top) > 3 and all(len(t.top_logprobs) == 2 for t in top)
    chunks = list(lite(s, "openai", stream=True, stream_options={"include_usage": True}))
    assert any(getattr(c, "usage", None) and c.usage.completion_tokens > 3 for c in chunks)


@test
def litellm_completes(s):
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="The capital of France is",
        api_base=s.url + "/v1", api_key="none", temperature=0, max_tokens=4)
    assert answer.choices[0].text == " Paris."


@test
def litellm_comes_again(s):
    def call():
        answer = litellm.completion(
            model=f"openai/{MODEL}", api_base=elsewhere(s), api_key="none", temperature=0,
            messages=[{"role": "user", "content": QUESTION}], max_retries=2)
        assert answer.choices[0].message.content == ANSWER
    server.retries(s, call)


@test
def litellm_leaves(s):
    def begin():
        stream = litellm.completion(
            model=f"openai/{MODEL}", api_base=s.url + "/v1", api_key="none", stream=True,
            messages=[{"role": "user", "content": "Tell me a story."}], max_tokens=900,
            extra_body={"ignore_eos": True})
        next(iter(stream))
        return stream.completion_stream.close
    server.leaves(s, "chat", begin)


@test
def litellm_maps_errors(s):
    long = [{"role": "user", "content": "word " * 4000}]
    for kind, more in ((litellm.NotFoundError, {"model": "openai/none"}),
                       (litellm.BadRequestError, {"temperature": 999}),
                       (litellm.ContextWindowExceededError, {"messages": long}),
                       (litellm.NotFoundError,
                        {"model": "anthropic/none", "api_base": s.url, "max_tokens": 1}),
                       (litellm.ContextWindowExceededError,
                        {"model": f"anthropic/{MODEL}", "api_base": s.url, "max_tokens": 1,
                         "messages": long})):
        try:
            litellm.completion(**{"model": f"openai/{MODEL}", "api_base": s.url + "/v1",
                                  "api_key": "none", "num_retries": 0, "max_retries": 0,
                                  "messages": [{"role": "user", "content": "x"}], **more})
        except kind:
            continue
        raise AssertionError(kind)


@test
def litellm_embeds(s):
    e = litellm.embedding(model=f"openai/{MODEL}", input=["a"], api_base=s.url + "/v1",
                          api_key="none")
    packed = litellm.embedding(model=f"openai/{MODEL}", input=["a"], api_base=s.url + "/v1",
                               api_key="none", encoding_format="base64").data[0]["embedding"]
    floats = e.data[0]["embedding"]
    if isinstance(packed, str):
        packed = struct.unpack(f"<{len(floats)}f", base64.b64decode(packed))
    assert len(floats) > 100 and max(abs(a - b) for a, b in zip(packed, floats)) < 1e-6


@test
def both_at_once(s):
    async def run():
        chat = ChatOpenAI(temperature=0, **kwargs(s))
        return await asyncio.gather(*(chat.ainvoke(QUESTION) for _ in range(8)), *(
            litellm.acompletion(model=f"openai/{MODEL}", api_base=s.url + "/v1", api_key="none",
                                messages=[{"role": "user", "content": QUESTION}], temperature=0)
            for _ in range(8)))
    answers = asyncio.run(run())
    assert all(a.content == ANSWER for a in answers[:8])
    assert all(a.choices[0].message.content == ANSWER for a in answers[8:])


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1], config=server.SMALL))
