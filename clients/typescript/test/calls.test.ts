import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { Client, DeadlineExceeded, GemwireError, Overloaded, Unavailable } from "@gemwire/client";
import { ErrorInfoSchema, RetryInfoSchema } from "#client/gen/google/rpc/error_details_pb.js";
import { answering, embedding, serving } from "./server.js";

/** What a server with a full queue says. */
function full(seconds: number): ConnectError {
  return new ConnectError("full", Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { domain: "gemwire.dev", reason: "QUEUE_FULL" } },
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(seconds) } } },
  ]);
}

/** Active timers and sockets of this process. */
function resources(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => /TCPSocket|TLS|Timeout/.test(kind));
}

test("a signal ends the pause before the next try", async () => {
  let calls = 0;
  const embed = () => {
    calls++;
    throw full(30);
  };
  await serving({ embed }, async (client) => {
    const controller = new AbortController();
    const started = performance.now();
    const call = client.embedQuery("a", { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 100);
    await assert.rejects(call, /^Error: enough$/);
    assert.ok(performance.now() - started < 5_000);
    assert.equal(calls, 1);
    assert.deepEqual(
      resources().filter((kind) => kind === "Timeout"),
      [],
    );
  });
});

test("a signal cancels a call that is under way, and the server sees it", async () => {
  let cancelled: () => void;
  const seen = new Promise<void>((resolve) => {
    cancelled = resolve;
  });
  const controller = new AbortController();
  await serving(
    {
      embed: async (_, { signal }) => {
        setTimeout(() => controller.abort(), 20);
        await once(signal, "abort");
        cancelled();
        return {};
      },
    },
    async (client) => {
      const call = client.embedQuery("a", { signal: controller.signal });
      await assert.rejects(call, { name: "AbortError" });
      await seen;
      await assert.rejects(
        client.embedQuery("a", { signal: AbortSignal.abort(7) }),
        (e) => e === 7,
      );
    },
  );
});

test("close ends calls, pauses and streams, and leaves nothing", async () => {
  let begun = 0;
  await serving(
    {
      embed: async ({ input }, { signal }) => {
        if (++begun && input?.content.value === "full") throw full(30);
        await once(signal, "abort");
        return {};
      },
      async *embedStream(_, { signal }) {
        begun++;
        await once(signal, "abort");
        yield {};
      },
    },
    async (client) => {
      const calls = [
        client.embedQuery("hangs"),
        client.embedQuery("full"),
        client.embedStream(["a"]).next(),
      ];
      const ended = Promise.allSettled(calls);
      while (begun < 3) await new Promise(setImmediate);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await client.close();
      for (const result of await ended) {
        assert.equal(result.status, "rejected");
        assert.equal(result.reason.code, "CANCELLED");
        assert.equal(result.reason.message, "the client was closed");
      }
      await assert.rejects(client.embedQuery("a"), { message: "the client was closed" });
      await assert.rejects(client.embedStream(["a"]).next(), { message: "the client was closed" });
      await client.close();
    },
  );
  assert.deepEqual(resources(), []);
});

test("many calls at once share a connection", async () => {
  const sizes: number[] = [];
  await serving(
    {
      embed: ({ input }) => ({ embedding: embedding(Number(input?.content.value)) }),
      batchEmbed: ({ inputs }) => {
        const size = inputs.reduce((sum, { content }) => sum + String(content.value).length, 0);
        sizes.push(size);
        const outcome = { case: "embedding" as const, value: embedding(size, 50_000) };
        return { results: inputs.map(() => ({ outcome })), modelRevision: "r1" };
      },
    },
    async (client) => {
      const queries = Array.from({ length: 300 }, (_, i) => client.embedQuery(String(i)));
      const vectors = await Promise.all(queries);
      assert.deepEqual(
        vectors.map((v) => v[0]),
        Array.from({ length: 300 }, (_, i) => i),
      );
      // 24 MiB of requests and 38 MB of answers under way.
      const texts = Array<string>(8).fill("a".repeat(128 << 10));
      const large = await Promise.all(Array.from({ length: 24 }, () => client.embed(texts)));
      assert.ok(
        large.every((batch) => batch.every((v) => v[0] === 1 << 20 && v.length === 50_000)),
      );
      assert.equal(sizes.length, 24);
    },
  );
});

test("the windows for answers are wide", async () => {
  const windows: (number | undefined)[][] = [];
  const server = createHttp2Server();
  server.on("stream", (stream) => {
    const { session } = stream;
    windows.push([session?.remoteSettings.initialWindowSize, session?.state.remoteWindowSize]);
    stream.respond({ ":status": 404 }, { endStream: true });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new Client(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    await assert.rejects(client.embedQuery("a"), { code: "UNIMPLEMENTED" });
    await assert.rejects(client.embedQuery("a"), { code: "UNIMPLEMENTED" });
    assert.deepEqual(windows[1], [4 << 20, 4 << 20]);
  } finally {
    await client.close();
    server.close();
  }
});

test("a call may have a time limit of its own", async () => {
  await serving(
    {
      embed: async (_, { signal, timeoutMs }) => {
        assert.ok(timeoutMs() !== undefined);
        await once(signal, "abort");
        return {};
      },
    },
    async (client) => {
      const started = performance.now();
      await assert.rejects(client.embedQuery("a", { timeoutMs: 150.5 }), DeadlineExceeded);
      const took = performance.now() - started;
      assert.ok(took > 100 && took < 5_000, `${took}`);
      for (const timeoutMs of [0, -1, Number.NaN]) {
        await assert.rejects(client.embedQuery("a", { timeoutMs }), TypeError);
      }
    },
  );
});

test("a time limit of weeks, and none at all", async () => {
  const limits: (number | undefined)[] = [];
  await serving(
    {
      embed: (_, { timeoutMs }) => {
        limits.push(timeoutMs());
        return { embedding: embedding(1) };
      },
    },
    async (client) => {
      await client.embedQuery("a", { timeoutMs: 1e12 });
      await client.embedQuery("a", { timeoutMs: Number.POSITIVE_INFINITY });
      await client.embedQuery("a", { timeoutMs: null });
      assert.ok(limits[0]! > 9e7);
      assert.deepEqual(limits.slice(1), [undefined, undefined]);
    },
  );
});

test("an overload without end is the error after five tries", async () => {
  let calls = 0;
  const embed = () => {
    calls++;
    throw full(0);
  };
  await serving({ embed }, async (client) => {
    await assert.rejects(client.embedQuery("a"), (error) => {
      assert.ok(error instanceof Overloaded);
      assert.equal(error.retryAfterMs, 0);
      return true;
    });
    assert.equal(calls, 5);
  });
});

test("a server that answered once is waited for while none listens", async () => {
  const methods = { embed: () => ({ embedding: embedding(1) }), embedStream: answering(4) };
  await serving(methods, async (_, address) => {
    const port = Number(address.split(":")[1]);
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const free = (other.address() as AddressInfo).port;
    other.close();
    const client = new Client(`127.0.0.1:${free}`, { timeoutMs: 60_000 });
    try {
      // Never answered: five tries, which end long before the deadline.
      const started = performance.now();
      await assert.rejects(client.embedQuery("a"), Unavailable);
      assert.ok(performance.now() - started < 10_000);
    } finally {
      await client.close();
    }
    const pipes = new Set<{ destroy(): void }>();
    const listen = () =>
      createServer((socket) => {
        const upstream = connect(port, "127.0.0.1");
        for (const end of [socket, upstream]) {
          pipes.add(end);
          end.on("error", () => {});
        }
        socket.pipe(upstream).pipe(socket);
      }).listen(free, "127.0.0.1");
    let server = listen();
    await once(server, "listening");
    const known = new Client(`127.0.0.1:${free}`);
    try {
      for await (const { error } of known.embedStream(["a"])) assert.equal(error, undefined);
      server.close();
      for (const pipe of pipes) pipe.destroy();
      const call = known.embedQuery("a");
      // More than five tries: 0.1 + 0.2 + 0.4 + 0.8 + 1.6 seconds at least.
      setTimeout(() => {
        server = listen();
      }, 3_500);
      assert.equal((await call)[0], 1);
    } finally {
      await known.close();
      server.close();
      for (const pipe of pipes) pipe.destroy();
    }
  });
});

test("an address may be the path of a socket", async () => {
  const folder = mkdtempSync(join(tmpdir(), "gemwire-"));
  const embed = () => ({ embedding: embedding(7) });
  try {
    const ask = async (client: Client) => {
      assert.equal((await client.embedQuery("a"))[0], 7);
    };
    await serving({ embed }, ask, {}, join(folder, "socket"));
    const client = new Client(`unix:${join(folder, "none")}`);
    await assert.rejects(client.embedQuery("a", { timeoutMs: 500 }), Unavailable);
    await client.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("addresses and tokens that cannot be are TypeErrors", () => {
  for (const address of ["", "http://a:1", "a:1/b", "a:99999", "u@a:1", "a b", "a:1\\b"]) {
    assert.throws(() => new Client(address), TypeError, address);
  }
  for (const token of ["", "a\nb", "größe", " a"]) {
    assert.throws(() => new Client("a:1", { token }), TypeError);
  }
});

test("an error can be told by its class and carries its parts", () => {
  const error = new Unavailable("gone", { code: "UNAVAILABLE", index: 3 });
  assert.ok(error instanceof GemwireError && error instanceof Error);
  assert.equal(String(error), "Unavailable: text 3: gone");
});
