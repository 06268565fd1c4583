//! Measures the client: `cargo bench -- HOST:PORT TEXTS`. Prints one line of JSON.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use gemwire::{Client, Error, Options};
use serde_json::json;
use tokio_stream::StreamExt;

const CALLS: usize = 300;
const QUERY: &str = "Which planet is known as the Red Planet?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // cargo adds --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [address, texts] = &arguments[..] else {
        return Err("usage: cargo bench -- HOST:PORT TEXTS".into());
    };
    let texts: usize = texts.parse()?;
    let client = Client::new(address)?;
    for _ in 0..20 {
        client.embed_query(QUERY, None).await?;
    }
    stream(&client, texts.min(500)).await?;

    let mut calls = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        client.embed_query(QUERY, None).await?;
        calls.push(start.elapsed());
    }
    calls.sort_unstable();
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    stream(&client, texts).await?;
    let (seconds, cpu) = (start.elapsed(), cpu.elapsed());

    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let line = json!({
        "client": "rust",
        "runtime": format!("tonic {}", tonic_version()),
        "unary_p50_ms": milliseconds(calls[CALLS / 2]),
        "unary_p99_ms": milliseconds(calls[CALLS * 99 / 100]),
        "texts": texts,
        "stream_seconds": seconds.as_secs_f64(),
        "stream_cpu_seconds": cpu.as_secs_f64(),
    });
    println!("{line}");
    Ok(())
}

/// tonic does not say it itself.
fn tonic_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("name = \"tonic\"\nversion = \"").nth(1);
    entry.and_then(|entry| entry.split('"').next()).unwrap_or("?")
}

async fn stream(client: &Client, texts: usize) -> Result<(), Error> {
    let source = tokio_stream::iter((0..texts).map(|i| format!("This is text number {i}.")));
    let mut answers = client.embed_stream(source, &Options::new());
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        assert_eq!(answer.index, count, "the order is kept");
        answer.vector?;
        count += 1;
    }
    assert_eq!(count, texts, "every text is answered");
    Ok(())
}
