import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  type CallOptions as ConnectOptions,
  createClient,
  type Client as Stub,
} from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { clientClosed, fromFailure, type GemwireError } from "./errors.js";
import { EmbeddingService, ModelService } from "./gen/gemwire/v1/embedding_pb.js";
import { Tries } from "./retry.js";
import { Sessions, WINDOW_BYTES } from "./sessions.js";
import { sleep } from "./sleep.js";

const RECEIVE_BYTES = 64 * 1024 * 1024;
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
// Node.js refuses answers while the data of all calls is over 10 MB, unless told otherwise.
const SESSION_MEGABYTES = 1_024;

/** Certificates and keys of a TLS connection, in PEM: the content of the files. */
export interface TlsOptions {
  /** The certificates of authorities to trust. Absent: the system's. */
  ca?: string | Uint8Array | undefined;
  /** The client's certificate, for a server that asks for one. */
  cert?: string | Uint8Array | undefined;
  /** The key of `cert`. */
  key?: string | Uint8Array | undefined;
  /** The name in the server's certificate, if it is not the address's. */
  serverName?: string | undefined;
}

/** A call under way: the caller's signal and the connection's `close` abort its `signal`. */
export interface Call {
  signal: AbortSignal;
  end(): void;
}

/** A connection to a server, and how a call is made over it. connect opens it when a call needs it. */
export class Connection {
  readonly embedding: Stub<typeof EmbeddingService>;
  readonly models: Stub<typeof ModelService>;
  readonly #headers: Record<string, string>;
  readonly #sessions: Sessions;
  readonly #sockets = new Set<Socket>();
  readonly #calls = new Set<AbortController>();
  #known = false;
  #closed = false;

  constructor(address: string, tls: TlsOptions | undefined, token: string | undefined) {
    if (token !== undefined && !/^[!-~]([ -~]*[!-~])?$/.test(token)) {
      throw new TypeError("the token is empty or holds a character that no header takes");
    }
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const path = address.startsWith("unix:") ? address.slice("unix:".length) : undefined;
    const url = urlOf(path === undefined ? address : "localhost", tls !== undefined);
    this.#sessions = new Sessions(
      url.origin,
      { pingIntervalMs: KEEPALIVE_MS, pingTimeoutMs: KEEPALIVE_TIMEOUT_MS },
      {
        createConnection: () => this.#open(url, path, tls),
        maxSessionMemory: SESSION_MEGABYTES,
        settings: { initialWindowSize: WINDOW_BYTES },
      },
    );
    const transport = createGrpcTransport({
      baseUrl: url.origin,
      sessionManager: this.#sessions,
      readMaxBytes: RECEIVE_BYTES,
    });
    this.embedding = createClient(EmbeddingService, transport);
    this.models = createClient(ModelService, transport);
  }

  /** Opens a socket. The session manager would open one even after its `abort`. */
  #open(url: URL, path: string | undefined, tls: TlsOptions | undefined): Socket {
    if (this.#closed) throw clientClosed();
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = Number(url.port) || (tls === undefined ? 80 : 443);
    const place = path === undefined ? { host, port } : { path };
    const socket =
      tls === undefined
        ? connectTcp(place)
        : connectTls({
            ...place,
            ca: pem(tls.ca),
            cert: pem(tls.cert),
            key: pem(tls.key),
            servername: tls.serverName ?? (isIP(host) ? undefined : host),
            ALPNProtocols: ["h2"],
          });
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }

  /** The response of a unary call, which is made again as long as that helps. */
  async unary<T>(
    method: (options: ConnectOptions) => Promise<T>,
    timeoutMs: number | null,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const tries = new Tries(timeoutMs);
    const call = this.begin(signal);
    try {
      for (;;) {
        let error: GemwireError;
        try {
          const answer = await method({ ...this.options(call.signal), timeoutMs: tries.leftMs });
          this.answered();
          return answer;
        } catch (raw) {
          call.signal.throwIfAborted();
          error = this.failure(raw);
        }
        await sleep(tries.pause(error, this.#known), call.signal);
      }
    } finally {
      call.end();
    }
  }

  /** What connect needs for a call without a deadline. */
  options(call: AbortSignal): ConnectOptions {
    return { headers: this.#headers, signal: call };
  }

  /** A server answered: from now on it is waited for. */
  answered(): void {
    this.#known = true;
  }

  /** The error of a failed call. */
  failure(raw: unknown): GemwireError {
    const error = fromFailure(raw);
    if (error.reason) this.answered();
    return error;
  }

  /** Begins a call, to be ended with `end`. Throws if the client is closed or the signal aborted. */
  begin(signal: AbortSignal | undefined): Call {
    if (this.#closed) throw clientClosed();
    signal?.throwIfAborted();
    const controller = new AbortController();
    const abort = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#calls.add(controller);
    const end = () => {
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(controller);
    };
    return { signal: controller.signal, end };
  }

  /** Ends all calls, closes the connection, and waits until its sockets are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.abort(clientClosed());
    this.#sessions.abort();
    await Promise.all(
      Array.from(this.#sockets, (socket) => {
        // Not events.once, which rejects where the socket has an error left.
        const closed = new Promise((resolve) => socket.once("close", resolve));
        socket.destroy();
        return closed;
      }),
    );
  }
}

function pem(content: string | Uint8Array | undefined): string | Buffer | undefined {
  return content instanceof Uint8Array ? Buffer.from(content) : content;
}

function urlOf(address: string, tls: boolean): URL {
  let url: URL | undefined;
  try {
    url = new URL(`${tls ? "https" : "http"}://${address}`);
  } catch {}
  if (url === undefined || /[/\\?#@]/.test(address)) {
    throw new TypeError("an address is HOST:PORT or unix:PATH");
  }
  return url;
}
