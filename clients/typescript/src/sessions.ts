import type { ClientHttp2Stream, Http2Session, OutgoingHttpHeaders } from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";

/** Bytes of answers that may be on their way; Node.js has 65,535, one round trip's worth at a time. */
export const WINDOW_BYTES = 4 * 1024 * 1024;

/** connect's manager of HTTP/2 sessions, with a wider window for the answers of each. */
export class Sessions extends Http2SessionManager {
  readonly #widened = new WeakSet<Http2Session>();

  override async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Parameters<Http2SessionManager["request"]>[3],
  ): Promise<ClientHttp2Stream> {
    const stream = await super.request(method, path, headers, options);
    const { session } = stream;
    if (session && !this.#widened.has(session)) {
      this.#widened.add(session);
      session.setLocalWindowSize(WINDOW_BYTES);
    }
    return stream;
  }
}
