// The snippets of the README, against the servers that CONFORMANCE names.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { conformance, skip } from "./conformance.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const printed = [
  /^384 2 Float32Array\(2\) \[ 0\.\d+, 0\.\d+ \]\n$/,
  /^0 384\n1 384\n$/,
  /^1 EMPTY_TEXT\n$/,
  /^models\/gemwire-mini\n$/,
];

test("every snippet of the README runs", { skip }, async () => {
  const { plain, tls } = conformance!.servers;
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const snippets = Array.from(readme.matchAll(/```ts\n(.*?)```/gs), ([, code]) => code!);
  assert.equal(snippets.length, printed.length);
  const folder = mkdtempSync(join(root, "build/readme-"));
  try {
    writeFileSync(join(folder, "texts.txt"), "Mars\nVenus\n");
    copyFileSync(tls!.ca!, join(folder, "ca.pem"));
    for (const [i, snippet] of snippets.entries()) {
      const code = snippet
        .replace("127.0.0.1:50051", plain!.address)
        .replace("gemwire.example:443", tls!.address)
        .replace("secret", "conformance-token");
      writeFileSync(join(folder, `${i}.mjs`), code);
      const { stdout } = await run(process.execPath, [`${i}.mjs`], { cwd: folder });
      assert.match(stdout, printed[i]!, snippet);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
