import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { conformance, skip } from "./conformance.js";

const run = promisify(execFile);

function script(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}

test("the example ranks Mars first", { skip }, async () => {
  const { address } = conformance!.servers.plain!;
  const { stdout } = await run(process.execPath, [script("examples/rank.js"), address]);
  const lines = stdout.trim().split("\n");
  assert.equal(lines.length, 4);
  assert.match(lines[0]!, /^0\.\d{4} Mars, known for/);
});

test("the bench prints one line of JSON", { skip }, async () => {
  const { address } = conformance!.servers.plain!;
  const { stdout } = await run(process.execPath, [script("bench/bench.js"), address, "200"]);
  const measured = JSON.parse(stdout);
  assert.equal(measured.client, "typescript");
  assert.equal(measured.texts, 200);
  assert.ok(measured.unary_p50_ms > 0 && measured.stream_cpu_seconds > 0);
});
