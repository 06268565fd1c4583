// Measures the client against a running server: node build/bench/bench.js ADDRESS TEXTS
// Prints one line of JSON.
import { readFileSync } from "node:fs";
import { Client } from "@gemwire/client";

const CALLS = 300;

const [address, count] = process.argv.slice(2);
if (address === undefined || !(Number(count) > 0)) {
  throw new TypeError("two arguments are needed: the address of a server, and a number of texts");
}
const texts = Number(count);
const client = new Client(address);

/** The value below which a share of the sorted numbers lies. */
function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

function round(value: number): number {
  return Math.round(value * 1e3) / 1e3;
}

function* short(n: number): Generator<string> {
  for (let i = 0; i < n; i++) yield `short text number ${i}`;
}

async function stream(n: number): Promise<void> {
  let next = 0;
  for await (const { index, error } of client.embedStream(short(n))) {
    if (error !== undefined) throw error;
    if (index !== next++) throw new Error(`text ${index} came in the place of ${next - 1}`);
  }
  if (next !== n) throw new Error(`${next} of ${n} texts came`);
}

try {
  for (let i = 0; i < 20; i++) await client.embedQuery("Which planet is red?");
  await stream(Math.min(texts, 512));
  const took: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    const started = performance.now();
    await client.embedQuery("Which planet is red?");
    took.push(performance.now() - started);
  }
  took.sort((a, b) => a - b);
  const cpu = process.cpuUsage();
  const started = performance.now();
  await stream(texts);
  const seconds = (performance.now() - started) / 1e3;
  const { user, system } = process.cpuUsage(cpu);
  const connect = JSON.parse(
    readFileSync(
      new URL("../../package.json", import.meta.resolve("@connectrpc/connect-node")),
      "utf8",
    ),
  );
  console.log(
    JSON.stringify({
      client: "typescript",
      runtime: `connect-node ${connect.version}, Node.js ${process.version}`,
      unary_p50_ms: round(percentile(took, 0.5)),
      unary_p99_ms: round(percentile(took, 0.99)),
      texts,
      stream_seconds: round(seconds),
      stream_cpu_seconds: round((user + system) / 1e6),
    }),
  );
} finally {
  await client.close();
}
