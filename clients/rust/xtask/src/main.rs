//! Generates the stubs: `PROTOC=PROGRAM cargo run -p xtask FOLDER`; see the script `stubs`.

use std::io::{Error, Result};
use std::path::Path;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| Error::other("usage: xtask FOLDER"))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(folder)
        .compile_protos(
            &[root.join("proto/gemwire/v1/embedding.proto")],
            &[root.join("proto"), root.join("third_party")],
        )
}
