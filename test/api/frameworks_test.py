#!/usr/bin/env python3
"""langchain-openai and litellm against the real server.   usage: frameworks_test.py REALM"""
import asyncio
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks nobody

import litellm
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

import server
from server import test

litellm.suppress_debug_info = True

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
MODEL = "tiny-q8_0"


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
def litellm_maps_errors(s):
    for kind, more in ((litellm.NotFoundError, {"model": "openai/none"}),
                       (litellm.BadRequestError, {"temperature": 999})):
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
    assert len(e.data[0]["embedding"]) > 100


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
    server.main(server.Server(sys.argv[1]))
