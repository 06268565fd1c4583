//! Ranks four documents for a question: `cargo run --example mars -- HOST:PORT`.

use gemwire::Client;

const QUERY: &str = "Which planet is known as the Red Planet?";
const DOCUMENTS: [&str; 4] = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: mars HOST:PORT")?;
    let client = Client::new(address)?;
    let query = client.embed_query(QUERY, None).await?;
    let documents = client.embed_documents(DOCUMENTS, None).await?;

    println!("{QUERY}");
    let mut ranked: Vec<(f32, &str)> =
        documents.iter().map(|document| dot(&query, document)).zip(DOCUMENTS).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (score, document) in ranked {
        println!("  {score:.4}  {document}");
    }
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
