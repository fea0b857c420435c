// OpenAI's JavaScript client against the real server.   usage: node openai_test.js URL
// Prints TAP.
import assert from "node:assert/strict";
import OpenAI from "openai";

const url = process.argv[2];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = "tiny-q8_0";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const answer = "The capital of France is Paris.";

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
    const until = Date.now() + 500;
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
  },
  async "errors"() {
    await assert.rejects(client.chat.completions.create({ model: "gpt-4", messages }),
      (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    await assert.rejects(client.chat.completions.create({ model, messages, top_p: 7 }),
      (e) => e instanceof OpenAI.BadRequestError && e.param === "top_p");
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
