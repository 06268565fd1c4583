import type { Duration } from "@bufbuild/protobuf/wkt";

/** A protobuf duration in milliseconds; 0 if absent. */
export function milliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1e3 + duration.nanos / 1e6;
}
