import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { milliseconds } from "./duration.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";

/** The names of gRPC's status codes, at the places of their numbers. */
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** The name of a gRPC status code, such as `"INVALID_ARGUMENT"`. */
export type StatusCode = (typeof CODES)[number];

/** The domain of every ErrorInfo that a gemwire server sends. */
const DOMAIN = "gemwire.dev";

/** What a {@link GemwireError} is made of. */
export interface ErrorParts {
  code: StatusCode;
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  fields?: Readonly<Record<string, string>>;
  retryAfterMs?: number | undefined;
  index?: number | undefined;
  cause?: unknown;
}

/**
 * A call, or one text of many, failed. The subclasses say what a caller would do differently; an error of
 * this type itself has a code that none of them has.
 */
export class GemwireError extends Error {
  /** The gRPC status code. */
  readonly code: StatusCode;
  /** The reason of the server, a name of `ErrorReason` without its prefix; empty if it gave none. */
  readonly reason: string;
  /** What the server adds to the reason; empty if it gave none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What is wrong with each field of the request, by the field's path; empty if the server gave none. */
  readonly fields: Readonly<Record<string, string>>;
  /** Milliseconds after which the server wants to be asked again; undefined if it does not. */
  readonly retryAfterMs: number | undefined;
  /** The place of the text among the texts of the call, for an error of one text. */
  readonly index: number | undefined;
  /** For the error of a whole call because of its texts: the error of each text that failed, by index. */
  errors: ReadonlyMap<number, GemwireError> = new Map();

  constructor(message: string, parts: ErrorParts) {
    super(parts.index === undefined ? message : `text ${parts.index}: ${message}`, {
      cause: parts.cause,
    });
    this.name = new.target.name;
    this.code = parts.code;
    this.reason = parts.reason ?? "";
    this.metadata = parts.metadata ?? {};
    this.fields = parts.fields ?? {};
    this.retryAfterMs = parts.retryAfterMs;
    this.index = parts.index;
  }
}

/** The request, or this text, cannot be served as it is. */
export class InvalidInput extends GemwireError {}
/** The server has no such model. */
export class NotFound extends GemwireError {}
/** The server has no room now, see `retryAfterMs`; or a quota or a size limit is used up. */
export class Overloaded extends GemwireError {}
/** The time ran out. */
export class DeadlineExceeded extends GemwireError {}
/** No server answered, or it is going away. */
export class Unavailable extends GemwireError {}
/** Credentials are missing, wrong or not enough. */
export class AccessDenied extends GemwireError {}
/** The server could not compute this; its log says more. */
export class EngineFailure extends GemwireError {}

const TYPES: Partial<Record<StatusCode, typeof GemwireError>> = {
  CANCELLED: Unavailable, // not by the caller: connect gives what the caller aborts no status
  INVALID_ARGUMENT: InvalidInput,
  NOT_FOUND: NotFound,
  RESOURCE_EXHAUSTED: Overloaded,
  DEADLINE_EXCEEDED: DeadlineExceeded,
  UNAVAILABLE: Unavailable,
  UNAUTHENTICATED: AccessDenied,
  PERMISSION_DENIED: AccessDenied,
  INTERNAL: EngineFailure,
};

/** A google.rpc.Status, or what connect read of one. */
interface Status {
  code: number;
  message: string;
  details: Any[];
}

/** The error of a status, with the details of a gemwire server. `index` is the text's. */
export function fromStatus(status: Status, index?: number, cause?: unknown): GemwireError {
  const code = CODES[status.code] ?? "UNKNOWN";
  const parts: ErrorParts = { code, index, cause };
  const info = detail(status, ErrorInfoSchema);
  if (info?.domain === DOMAIN) {
    parts.reason = info.reason;
    parts.metadata = info.metadata;
    parts.fields = Object.fromEntries(
      (detail(status, BadRequestSchema)?.fieldViolations ?? []).map((v) => [
        v.field,
        v.description,
      ]),
    );
    const delay = detail(status, RetryInfoSchema);
    parts.retryAfterMs = delay && milliseconds(delay.retryDelay);
  }
  return new (TYPES[code] ?? GemwireError)(status.message, parts);
}

/** The first detail of a type; undefined if there is none that can be read. */
function detail<D extends DescMessage>(status: Status, schema: D): MessageShape<D> | undefined {
  const found = status.details.find((any) => any.typeUrl.endsWith(`/${schema.typeName}`));
  try {
    return found && fromBinary(schema, found.value);
  } catch {
    return undefined;
  }
}

// What connect itself says for reasons of its own. All else that no server said, such as a reset, an answer
// that is cut off, or bytes that are not HTTP/2, is a lost connection: connect gives it many codes.
const OF_CONNECT = new Set([
  Code.DeadlineExceeded, // of this call
  Code.ResourceExhausted, // an answer over the limit
  // HTTP statuses of a proxy, and answers that are not gRPC
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.Unimplemented,
  Code.Unknown,
]);

// Bytes that are no message have the code of a reset stream.
const UNREADABLE = /^(parse|serialize) binary:/;

/** The error of a failed call. */
export function fromFailure(raw: unknown): GemwireError {
  const error = ConnectError.from(raw);
  if (error.metadata.has("grpc-status")) {
    const details = error.details.flatMap((d) =>
      "type" in d ? [{ typeUrl: `/${d.type}`, value: d.value } as Any] : [],
    );
    return fromStatus({ code: error.code, message: error.rawMessage, details });
  }
  const kept = OF_CONNECT.has(error.code) || UNREADABLE.test(error.rawMessage);
  const code = kept ? error.code : Code.Unavailable;
  return fromStatus({ code, message: error.rawMessage, details: [] }, undefined, error);
}

/** The error where one result would hold vectors of two revisions. */
export function modelChanged(): GemwireError {
  const message =
    "another server answered with another revision of the model: its vectors do not compare with those before";
  return new GemwireError(message, { code: "FAILED_PRECONDITION", reason: "MODEL_CHANGED" });
}

/** The error of a text that no message within the server's limit can hold; sizes in bytes. */
export function tooLarge(size: number, limit: number, index: number): InvalidInput {
  const message = `the text has ${size} bytes; a request takes ${limit}`;
  return new InvalidInput(message, { code: "INVALID_ARGUMENT", reason: "TEXT_TOO_LONG", index });
}

/** The error of a call whose client was closed. */
export function clientClosed(): GemwireError {
  return new GemwireError("the client was closed", { code: "CANCELLED" });
}
