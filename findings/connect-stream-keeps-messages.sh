#!/usr/bin/env bash
# @connectrpc/connect: a client that reads a stream keeps each message in memory until the stream ends, although the
# reader drops each one. So the memory of the client grows with the length of the stream, and a long stream can fill
# the heap. One expects a few messages in memory, as in version 2.2.0. Version 2.3.0 races each read against a promise
# that settles when the stream ends. By Promise.race that promise holds the outcome of each race, and so each message,
# until then. (connectrpc/connect-es#1524, now closed, was the same in the HTTP client of connect-node.)
#
# gemwire's client takes the vectors out of each message of a stream, so that an empty message stays.
#
# Seen on Node.js 22.23, a stream of 20,000 messages of 10 kB:
#   connect 2.2.0:
#     in the stream: 5000 messages read, 2 in memory, heap 12 MB
#     in the stream: 20000 messages read, 4 in memory, heap 11 MB
#     after it: 20000 messages read, 1 in memory, heap 11 MB
#   connect 2.3.0:
#     in the stream: 5000 messages read, 5000 in memory, heap 64 MB
#     in the stream: 20000 messages read, 20000 in memory, heap 223 MB
#     after it: 20000 messages read, 1 in memory, heap 12 MB
#
# Exit code 0: as described. Needs Node.js 22 or newer with npm, and a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >stream.mjs <<'JAVASCRIPT'
import { createServer } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, file_google_protobuf_wrappers } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";

const MESSAGES = 20_000;
const MESSAGE = { value: "a".repeat(10_000) };

const file = fromJson(FileDescriptorProtoSchema, {
  name: "service.proto",
  syntax: "proto3",
  dependency: ["google/protobuf/wrappers.proto"],
  service: [
    {
      name: "Service",
      method: [
        {
          name: "Read",
          inputType: ".google.protobuf.StringValue",
          outputType: ".google.protobuf.StringValue",
          serverStreaming: true,
        },
      ],
    },
  ],
});
const service = createFileRegistry(file, () => file_google_protobuf_wrappers).getService("Service");

/** Serves the stream, and posts the port. */
function serve() {
  async function* read() {
    for (let i = 0; i < MESSAGES; i++) yield MESSAGE;
  }
  const routes = (router) => router.service(service, { read });
  const server = createServer(connectNodeAdapter({ routes }));
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
}

/** Reads the stream, and prints how many of its messages are in memory. */
async function read() {
  const worker = new Worker(new URL(import.meta.url));
  const port = await new Promise((resolve) => worker.once("message", resolve));
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const messages = [];

  async function print(where) {
    await sleep(10); // a WeakRef keeps its object until the current job ends
    gc();
    const inMemory = messages.filter((message) => message.deref() !== undefined).length;
    const megabytes = Math.round(process.memoryUsage().heapUsed / 1e6);
    console.log(`  ${where}: ${messages.length} messages read, ${inMemory} in memory, heap ${megabytes} MB`);
  }

  for await (const message of createClient(service, transport).read({})) {
    messages.push(new WeakRef(message));
    if (messages.length === 5_000 || messages.length === MESSAGES) await print("in the stream");
  }
  await print("after it");
  await worker.terminate();
}

await (isMainThread ? read() : serve());
JAVASCRIPT

# Installs a version of connect, and prints what its client keeps.
run() {
  mkdir "$1"
  cp stream.mjs "$1"
  npm install --silent --no-audit --no-fund --prefix "$1" \
    "@connectrpc/connect@$1" "@connectrpc/connect-node@$1" @bufbuild/protobuf@2.17.0
  node --expose-gc "$1/stream.mjs"
}

# Prints how many messages were in memory when the last one was read, and after the stream.
in_memory() { sed -n 's/.* 20000 messages read, \([0-9]*\) in memory.*/\1/p' <<<"$1" | paste -sd ' '; }

before=$(run 2.2.0)
echo "connect 2.2.0:"
echo "$before"
now=$(run 2.3.0)
echo "connect 2.3.0:"
echo "$now"
read -r before_end before_after <<<"$(in_memory "$before")"
read -r now_end now_after <<<"$(in_memory "$now")"
[[ $now_end == 20000 && $before_end -lt 100 && $before_after -lt 100 && $now_after -lt 100 ]] || {
  echo "connect behaves otherwise now" >&2
  exit 1
}
