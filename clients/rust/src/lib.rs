//! A client of gemwire, an embedding server for EmbeddingGemma over gRPC.
//!
//! ```no_run
//! # async fn example() -> Result<(), gemwire::Error> {
//! let client = gemwire::Client::new("127.0.0.1:50051")?;
//! let query: Vec<f32> = client.embed_query("Which planet is red?", None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Client`]; [`Client::embed_stream`] is for many texts. The crate logs nothing itself. It reads
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` where [`Tls::system`] looks for the system's certificates, and no other
//! environment variable.
//!
//! The feature `tls`, on by default, is TLS by rustls with ring.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod builder;
mod client;
mod connection;
mod embedded;
mod error;
mod exchange;
mod gather;
mod options;
mod retry;
mod split;
mod stream;
mod text;
mod tokens;
mod vector;

/// The messages and stubs of the API, generated from `gemwire/v1/embedding.proto`.
pub mod v1 {
    #![allow(missing_docs, clippy::all)]
    include!("gen/gemwire.v1.rs");
}

pub use builder::ClientBuilder;
#[cfg(feature = "tls")]
pub use builder::Tls;
pub use client::Client;
pub use embedded::Embedded;
pub use error::{Error, ErrorKind};
pub use options::Options;
pub use text::Text;
pub use tokens::Token;
pub use tonic::Code;
pub use v1::{ErrorReason, Limits, Model, TaskType, Truncation, VectorEncoding};
pub use vector::Vector;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
