import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { GemwireError, type Text } from "@gemwire/client";
import { answering, serving } from "./server.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function* numbers(count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield `text ${i}`;
}

test("a source's error fails the call as it is, and cancels the stream", async () => {
  const failure = { not: "an Error" };
  function* sync(): Generator<string> {
    yield "a";
    throw failure;
  }
  async function* later(): AsyncGenerator<string> {
    yield "a";
    throw failure;
  }
  await serving({ embedStream: answering(4) }, async (client) => {
    for (const source of [sync, later]) {
      const stream = client.embedStream(source());
      await assert.rejects(
        async () => {
          for await (const { error } of stream) assert.equal(error, undefined);
        },
        (error) => error === failure,
      );
      assert.deepEqual(await stream.next(), { done: true, value: undefined });
    }
  });
});

test("what is no text fails the call, and the source cleans up", async () => {
  let cleaned = 0;
  function* sync(): Generator<Text> {
    try {
      yield "a";
      yield "\ud800";
    } finally {
      cleaned++;
    }
  }
  async function* later(): AsyncGenerator<Text> {
    yield* sync();
  }
  await serving({ embedStream: answering(4) }, async (client) => {
    for (const source of [sync, later]) {
      await assert.rejects(client.embedStream(source()).next(), TypeError);
    }
    for (const texts of ["abc", 7, null, {}]) {
      assert.throws(() => client.embedStream(texts as string[]), TypeError);
    }
    assert.throws(() => client.embedStream([], { task: "no" as "clustering" }), TypeError);
  });
  assert.equal(cleaned, 2);
});

test("leaving the loop cancels the stream, and the source cleans up", async () => {
  let cleaned = 0;
  let aborted = 0;
  function* sync(): Generator<Text> {
    try {
      yield* numbers(1e9);
    } finally {
      cleaned++;
    }
  }
  async function* later(): AsyncGenerator<Text> {
    yield* sync();
  }
  const answer = answering(4);
  await serving(
    {
      embedStream(requests, context) {
        context.signal.addEventListener("abort", () => aborted++);
        return answer(requests, context);
      },
    },
    async (client) => {
      for (const source of [sync, later]) {
        for await (const { index } of client.embedStream(source())) if (index === 9) break;
      }
      for (let i = 0; i < 100 && aborted < 2; i++) await pause(10);
    },
  );
  assert.equal(cleaned, 2);
  assert.equal(aborted, 2);
});

test("a signal ends a stream whose source hangs", async () => {
  let cleaned = false;
  async function* hangs(): AsyncGenerator<string> {
    try {
      yield "a";
      await pause(300);
      yield "b";
    } finally {
      cleaned = true;
    }
  }
  await serving({ embedStream: answering(4) }, async (client) => {
    const controller = new AbortController();
    const stream = client.embedStream(hangs(), { signal: controller.signal });
    assert.equal((await stream.next()).value?.index, 0);
    setTimeout(() => controller.abort(new Error("enough")), 20);
    const started = performance.now();
    await assert.rejects(stream.next(), /^Error: enough$/);
    assert.ok(performance.now() - started < 250);
    await pause(350);
    assert.ok(cleaned, "the source did not clean up when its text had come");
  });
});

test("an answer does not wait for the next text of a slow source", async () => {
  async function* slow(): AsyncGenerator<string> {
    yield "a";
    await pause(400);
    yield "b";
  }
  await serving({ embedStream: answering(4) }, async (client) => {
    const started = performance.now();
    const stream = client.embedStream(slow());
    await stream.next();
    assert.ok(performance.now() - started < 350);
    assert.equal((await stream.next()).value?.index, 1);
    assert.equal((await stream.next()).done, true);
  });
});

test("the time limit does not run while the source has no text", async () => {
  async function* later(): AsyncGenerator<string> {
    yield "a";
    await pause(900);
    yield "b";
  }
  function* blocking(): Generator<string> {
    yield "a";
    for (const started = performance.now(); performance.now() - started < 700; );
    yield "b";
  }
  await serving(
    { embedStream: answering(4) },
    async (client) => {
      for (const source of [later, blocking]) {
        const stream = client.embedStream(source());
        assert.equal((await stream.next()).value?.index, 0);
        assert.equal((await stream.next()).value?.index, 1);
        assert.equal((await stream.next()).done, true);
      }
    },
    { timeoutMs: 500 },
  );
});

test("a slow reader slows the source and the server", async () => {
  const credit = 32;
  let taken = 0;
  function* counted(): Generator<string> {
    for (const text of numbers(2_000)) {
      taken++;
      yield text;
    }
  }
  await serving({ embedStream: answering(credit, 1) }, async (client) => {
    let got = 0;
    for await (const { index } of client.embedStream(counted())) {
      assert.equal(index, got++);
      assert.ok(taken - got < credit + 1, `${taken} taken, ${got} handed out`);
      if (got % 500 === 0) await pause(200);
    }
    assert.equal(got, 2_000);
  });
});

test("several streams and calls share a client", async () => {
  await serving({ embedStream: answering(16, 3) }, async (client) => {
    const count = async (ordered: boolean) => {
      const seen = new Set<number>();
      for await (const { index, vector } of client.embedStream(numbers(500), { ordered })) {
        assert.equal(vector?.[0], index);
        seen.add(index);
      }
      return seen.size;
    };
    const counts = await Promise.all(Array.from({ length: 8 }, (_, i) => count(i % 2 === 0)));
    assert.deepEqual(counts, Array(8).fill(500));
  });
});

test("memory stays bounded over many messages, and ids go on over several streams", async () => {
  const streams = { begun: 0 };
  const answer = answering(64, 1, 384);
  await serving(
    {
      embedStream(requests, context) {
        streams.begun++;
        return answer(requests, context);
      },
    },
    async (client) => {
      let base = 0;
      let next = 0;
      for await (const { index, vector } of client.embedStream(numbers(5_000))) {
        assert.equal(index, next++);
        assert.equal(vector?.[0], index);
        if (index === 1_000 || index === 4_000) {
          collectGarbage();
          await pause(1);
          collectGarbage();
          if (index === 1_000) base = process.memoryUsage().heapUsed;
          // The server in this process keeps nothing either. Messages kept whole would be 10 MB here.
          else assert.ok(process.memoryUsage().heapUsed - base < 5e6, "the heap grew");
        }
      }
      assert.equal(next, 5_000);
    },
  );
  assert.equal(streams.begun, 2);
});

test("a stream of another revision fails the call", async () => {
  let streams = 0;
  await serving(
    {
      async *embedStream(requests) {
        const modelRevision = `r${++streams}`;
        for await (const { payload } of requests) {
          if (payload.case !== "open") return; // Ends with OK, and with texts unanswered.
          yield { payload: { case: "opened", value: { modelRevision, maxInflightInputs: 4 } } };
        }
      },
    },
    async (client) => {
      await assert.rejects(client.embedStream(["a"]).next(), (error) => {
        assert.ok(error instanceof GemwireError);
        assert.equal(error.reason, "MODEL_CHANGED");
        return true;
      });
    },
  );
});
