// OpenAI's JavaScript client against the real server.   usage: node openai_test.js URL
// Prints TAP.
import assert from "node:assert/strict";
import net from "node:net";
import OpenAI from "openai";

const url = process.argv[2];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = "tiny-q8_0";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const answer = "The capital of France is Paris.";

async function metric(name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(text.match(new RegExp(`^${name} (.*)$`, "m"))[1]);
}

// Opens connections until the server, which has a small limit of them, refuses one.
async function fill() {
  const crowd = [];
  for (let i = 0; i < 200; i++) {
    const c = net.connect(Number(new URL(url).port), new URL(url).hostname);
    c.on("error", () => {});
    crowd.push(c);
    const refused = await new Promise((resolve) => {
      c.once("data", () => resolve(true));
      c.once("connect", () => setTimeout(resolve, 10, false));
    });
    if (refused) return crowd;
  }
  throw new Error("the server takes whoever comes");
}

const tests = {
  async "a chat"() {
    const got = await client.chat.completions.create({ model, messages, temperature: 0 });
    assert.equal(got.choices[0].message.content, answer);
    assert.equal(got.choices[0].finish_reason, "stop");
    assert.ok(got._request_id.startsWith("req_"));
  },
  async "a stream"() {
    const stream = await client.chat.completions.create({
      model, messages, temperature: 0, stream: true, stream_options: { include_usage: true },
    });
    let text = "", usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, answer);
    assert.ok(usage.completion_tokens > 3);
  },
  async "a stream that is left"() {
    const stream = await client.chat.completions.create({
      model, messages: [{ role: "user", content: "Tell me a story." }], stream: true,
      max_tokens: 900, ignore_eos: true,
    });
    for await (const chunk of stream) {
      assert.ok(chunk);
      break; // the client aborts the request
    }
    const until = Date.now() + 60000;
    for (;;) {
      const text = await (await fetch(`${url}/metrics`)).text();
      if (/^realm_requests_running 0$/m.test(text)) break;
      assert.ok(Date.now() < until, "it still runs");
    }
  },
  async "completions, embeddings, models"() {
    const got = await client.completions.create({
      model, prompt: "The capital of France is", temperature: 0, max_tokens: 4,
    });
    assert.equal(got.choices[0].text, " Paris.");
    const base64 = await client.embeddings.create({ model, input: "a ball" });
    const floats = await client.embeddings.create({
      model, input: "a ball", encoding_format: "float",
    });
    const [a, b] = [base64.data[0].embedding, floats.data[0].embedding];
    assert.equal(a.length, b.length);
    a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) < 1e-6));
    const models = await client.models.list();
    assert.deepEqual(models.data.map((m) => m.id), [model]);
    assert.equal((await client.models.retrieve(model)).id, model);
    const small = await client.embeddings.create({ model, input: "a ball", dimensions: 8 });
    assert.equal(small.data[0].embedding.length, 8);
  },
  async "several choices, stops, lengths, seeds"() {
    const ask = (more) => client.chat.completions.create({
      model, messages, temperature: 0, ...more });
    const cut = await ask({ stop: ["Paris"] });
    assert.equal(cut.choices[0].message.content, "The capital of France is ");
    assert.equal(cut.choices[0].finish_reason, "stop");
    const short = await ask({ max_tokens: 3 });
    assert.equal(short.choices[0].finish_reason, "length");
    assert.equal(short.usage.completion_tokens, 3);
    const drawn = () => ask({ n: 2, seed: 7, temperature: 1.5, max_tokens: 12 });
    const texts = (got) => got.choices.map((c) => c.message.content);
    const first = texts(await drawn());
    assert.equal(first.length, 2);
    assert.deepEqual(first, texts(await drawn()));
  },
  async "logprobs"() {
    const got = await client.chat.completions.create({
      model, messages, temperature: 0, logprobs: true, top_logprobs: 2 });
    const content = got.choices[0].logprobs.content;
    assert.equal(content.map((t) => t.token).join(""), answer);
    content.forEach((t) => assert.equal(t.top_logprobs[0].token, t.token));
    const prompt = "The capital of France is Paris.";
    const echo = await client.completions.create({
      model, prompt, echo: true, max_tokens: 0, logprobs: 1 });
    assert.equal(echo.choices[0].text, prompt);
    assert.equal(echo.choices[0].logprobs.tokens.join(""), prompt);
  },
  async "a request that is given up"() {
    const give = new AbortController();
    const call = client.completions.create({
      model, prompt: "Once upon a time", n: 16, max_tokens: 900, ignore_eos: true,
    }, { signal: give.signal });
    while (await metric("realm_requests_running") === 0);
    give.abort();
    await assert.rejects(call, OpenAI.APIUserAbortError);
    const until = Date.now() + 60000;
    while (await metric("realm_kv_pages_used") > 0)
      assert.ok(Date.now() < until, "it still runs");
  },
  async "it comes again when it is told to"() {
    const crowd = await fill();
    setTimeout(() => crowd.forEach((c) => c.destroy()), 500);
    const start = Date.now();
    // By another name, for which fetch has no connection open.
    const other = url.replace("127.0.0.1", "localhost");
    const again = new OpenAI({ baseURL: `${other}/v1`, apiKey: "none", maxRetries: 9 });
    const got = await again.chat.completions.create({ model, messages, temperature: 0 });
    assert.equal(got.choices[0].message.content, answer);
    assert.ok(Date.now() - start >= 950, `after ${Date.now() - start} ms`);
  },
  async "errors"() {
    await assert.rejects(client.chat.completions.create({ model: "gpt-4", messages }),
      (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    await assert.rejects(client.chat.completions.create({ model, messages, top_p: 7 }),
      (e) => e instanceof OpenAI.BadRequestError && e.param === "top_p");
    const long = [{ role: "user", content: "word ".repeat(4000) }];
    await assert.rejects(client.chat.completions.create({ model, messages: long }),
      (e) => e instanceof OpenAI.BadRequestError && e.code === "context_length_exceeded" &&
             e.requestID.startsWith("req_"));
    await assert.rejects(client.models.retrieve("gpt-4"), OpenAI.NotFoundError);
  },
};

const names = Object.keys(tests);
let failed = 0;
console.log(`1..${names.length}`);
for (const [i, name] of names.entries()) {
  try {
    await tests[name]();
    console.log(`ok ${i + 1} - ${name}`);
  } catch (error) {
    failed++;
    console.log(`not ok ${i + 1} - ${name}`);
    console.log(String(error.stack).replace(/^/gm, "# "));
  }
}
process.exit(failed ? 1 : 0);
