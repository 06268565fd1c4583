// The openai package of npm.
const OpenAI = require("openai");

const given = JSON.parse(process.argv[2]);
const vectors = [];
const errors = {};
const query = `${given.model}:query`;
const document = `${given.model}:document`;

const embed = (base, key, request) =>
  new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 }).embeddings.create(request);

async function note(label, kind, request, base = given.http, key = "any") {
  const { data } = await embed(base, key, request);
  vectors.push({ label, kind, rows: data.map((item) => item.embedding) });
}

async function error(label, request, base = given.http) {
  try {
    await embed(base, "wrong", request);
  } catch (raised) {
    errors[label] = { type: `openai.${raised.constructor.name}`, message: raised.message };
    return;
  }
  throw new Error(`${label}: no error`);
}

async function main() {
  const { queries, documents, dimensions } = given;
  await note("default", "query", { model: query, input: queries });
  await note("default", "document", { model: document, input: documents });
  await note("dimensions", "document", { model: document, input: documents, dimensions });
  await note("float", "query", { model: query, input: queries, encoding_format: "float" });
  await note("task", "query", { model: given.model, input: queries, task: "retrieval_query" });
  await note("token", "query", { model: query, input: queries }, given.guarded_http, given.token);
  await error("too_long", { model: query, input: given.long_text });
  await error("token_ids", { model: query, input: [64, 293] });
  await error("unknown_model", { model: "text-embedding-3-small", input: "Mars" });
  await error("wrong_token", { model: query, input: "Mars" }, given.guarded_http);
  await error("overload", { model: query, input: "Mars" }, given.full_http);
  console.log(JSON.stringify({ vectors, errors }));
}

main();
