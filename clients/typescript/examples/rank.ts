// Ranks four documents by a question: node build/examples/rank.js ADDRESS
import { Client } from "@gemwire/client";

const question = "Which planet is known as the Red Planet?";
const documents = [
  "Venus is often called Earth's twin because of its similar size and proximity.",
  "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
  "Jupiter, the largest planet in our solar system, has a prominent red spot.",
  "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
];

/** The dot product: the cosine, as the vectors have length 1. */
function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

const address = process.argv[2];
if (address === undefined) throw new TypeError("the address of a server is missing: HOST:PORT");
const client = new Client(address);
try {
  const query = await client.embedQuery(question);
  const vectors = await client.embedDocuments(documents);
  const scored = documents.map((text, i) => ({ text, score: dot(query, vectors[i]!) }));
  scored.sort((a, b) => b.score - a.score);
  for (const { text, score } of scored) console.log(score.toFixed(4), text);
} finally {
  await client.close();
}
