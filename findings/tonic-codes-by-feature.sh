#!/usr/bin/env bash
# tonic: a server or a proxy can end a call by HTTP/2's RST_STREAM, without a gRPC status. gRPC's protocol maps the
# reason of the reset to the code that a client reports. tonic has this mapping, but compiles it with its feature
# `server` only. A client that is built with the feature `channel` reports UNKNOWN for each reason. One expects
# the codes of the mapping from a client, and the same codes from each build. Cargo gives tonic the features that
# all crates of an application ask for. So the codes of a client change when another crate of the application
# begins to use tonic's server, and a client that retries by code then behaves otherwise.
#
# gemwire's client ignores the code of a status that tonic made itself, and treats the connection as lost.
#
# Seen with tonic 0.14.9 and h2 0.4.20 on Rust 1.95:
#   channel:
#     CANCEL: Unknown, transport error
#     INTERNAL_ERROR: Unknown, transport error
#     REFUSED_STREAM: Unknown, transport error
#     ENHANCE_YOUR_CALM: Unknown, transport error
#   channel and server:
#     CANCEL: Cancelled, h2 protocol error: http2 error
#     INTERNAL_ERROR: Internal, h2 protocol error: http2 error
#     REFUSED_STREAM: Unavailable, h2 protocol error: http2 error
#     ENHANCE_YOUR_CALM: ResourceExhausted, h2 protocol error: http2 error
#
# Exit code 0: as described. Needs cargo, Rust 1.88 or newer, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "resets"
version = "0.0.0"
edition = "2024"

[dependencies]
h2 = "=0.4.20"
tokio = { version = "=1.54.1", features = ["macros", "net", "rt"] }
tonic = { version = "=0.14.9", default-features = false, features = ["channel"] }

[profile.dev]
debug = false

[workspace]
TOML
cat >src/main.rs <<'RUST'
use h2::Reason;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// Encodes messages without fields.
struct Empty;

impl Codec for Empty {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Empty {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, _: (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Empty {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}

/// Serves one connection, and resets its calls.
async fn serve(listener: TcpListener, reason: Reason) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        respond.send_reset(reason);
    }
}

/// The status of a call that is reset.
async fn call(reason: Reason) -> Status {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, reason));
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let path = "/service/Method".parse().unwrap();
    client.unary(Request::new(()), path, Empty).await.unwrap_err()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for reason in [
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::REFUSED_STREAM,
        Reason::ENHANCE_YOUR_CALM,
    ] {
        let status = call(reason).await;
        println!("  {reason:?}: {:?}, {}", status.code(), status.message());
    }
}
RUST
run() { cargo run --quiet --target-dir target "$@"; }

# Prints the four codes of what `run` printed, in a line.
codes() { sed 's/.*: \([A-Za-z]*\), .*/\1/' <<<"$1" | paste -sd ' '; }

client=$(run)
echo "channel:"
echo "$client"
with_server=$(run --features tonic/server)
echo "channel and server:"
echo "$with_server"
[[ $(codes "$client") == "Unknown Unknown Unknown Unknown" &&
  $(codes "$with_server") == "Cancelled Internal Unavailable ResourceExhausted" ]] || {
  echo "tonic behaves otherwise now" >&2
  exit 1
}
