//! Tests against real servers that no case can say.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gemwire::v1::embed_stream_request::Payload as Sent;
use gemwire::v1::embed_stream_response::Payload as Received;
use gemwire::v1::embedding_service_client::EmbeddingServiceClient;
use gemwire::v1::{EmbedStreamRequest, StreamOpen};
use gemwire::{Client, ErrorKind, Options, Token};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Endpoint;

use crate::servers::Servers;

const SECONDS: Duration = Duration::from_secs(20);
/// The server's credit of a stream.
const CREDIT: usize = 256;

type Outcome = Result<(), Failed>;

pub fn trials(servers: &Arc<Servers>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    macro_rules! trials {
        ($($test:ident),* $(,)?) => {
            vec![$({
                let (servers, runtime) = (Arc::clone(servers), Arc::clone(runtime));
                Trial::test(stringify!($test), move || runtime.block_on($test(&servers)))
                    .with_kind("real")
            }),*]
        };
    }
    trials![
        headers_come_before_open_is_sent,
        the_example_ranks_mars_first,
        one_client_serves_many_tasks,
        a_call_is_cancelled_while_a_retry_sleeps,
        the_time_of_a_call_is_its_own,
        a_slow_reader_slows_the_source,
        texts_are_sent_while_the_source_waits,
        a_source_that_panics_ends_the_call_alone,
        a_dropped_stream_drops_its_source,
        spans_are_places_in_the_text,
    ]
}

fn plain(servers: &Servers) -> Result<Client, gemwire::Error> {
    servers.client("plain", None, Some(SECONDS))
}

/// tonic's call returns with the server's headers: a caller sends `open` after that, in the order in which
/// one writes it.
async fn headers_come_before_open_is_sent(servers: &Servers) -> Outcome {
    let endpoint = Endpoint::from_shared(format!("http://{}", servers.address("plain")))?;
    let mut stub = EmbeddingServiceClient::new(endpoint.connect().await?);
    let (messages, queue) = mpsc::channel(1);
    let call = stub.embed_stream(ReceiverStream::new(queue));
    let mut answers = timeout(SECONDS, call).await??.into_inner();
    let open = EmbedStreamRequest { payload: Some(Sent::Open(StreamOpen::default())) };
    messages.send(open).await?;
    let first = timeout(SECONDS, answers.message()).await??.and_then(|message| message.payload);
    assert!(matches!(first, Some(Received::Opened(_))), "{first:?}");
    drop(messages);
    assert_eq!(timeout(SECONDS, answers.message()).await??, None);
    Ok(())
}

async fn the_example_ranks_mars_first(servers: &Servers) -> Outcome {
    let mut program: PathBuf = std::env::current_exe()?;
    program.pop();
    program.pop();
    program.extend(["examples", "mars"]);
    assert!(program.exists(), "build it first: cargo build --examples");
    let output = Command::new(program).arg(servers.address("plain")).output()?;
    let lines = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = lines.lines().collect();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[1].contains("Mars, known for its reddish appearance"), "{lines:?}");
    Ok(())
}

async fn one_client_serves_many_tasks(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let alone = client.embed_query("Mars", None).await?;
    let mut tasks = JoinSet::new();
    for i in 0..64 {
        let client = client.clone();
        tasks.spawn(async move {
            let text = if i % 2 == 0 { "Mars" } else { "Venus" };
            (i, client.embed_query(text, None).await)
        });
    }
    for (i, vector) in tasks.join_all().await {
        assert_eq!(vector? == alone, i % 2 == 0, "{i}");
    }
    Ok(())
}

async fn a_call_is_cancelled_while_a_retry_sleeps(servers: &Servers) -> Outcome {
    let client = servers.client("refused", None, Some(SECONDS))?;
    let start = Instant::now();
    // Between the third try and the fourth, at 0.3 s to 0.4 s and 0.7 s to 0.9 s.
    assert!(timeout(Duration::from_millis(500), client.embed_query("a", None)).await.is_err());
    let source = tokio_stream::iter(["a"]);
    let mut answers = client.embed_stream(source, &Options::new());
    assert!(timeout(Duration::from_millis(500), answers.next()).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(3));
    Ok(())
}

async fn the_time_of_a_call_is_its_own(servers: &Servers) -> Outcome {
    let client = servers.client("silent", None, None)?;
    let start = Instant::now();
    let hurried = client.with_timeout(Duration::from_millis(200));
    let error = hurried.embed_query("a", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error:?}");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(3));
    Ok(())
}

/// Texts, and how many of them were taken.
fn counted(count: usize) -> (impl Stream<Item = String> + Send + Unpin, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let texts = (0..count).map(|i| format!("text {i}")).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (tokio_stream::iter(texts), taken)
}

async fn a_slow_reader_slows_the_source(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let count = 3 * CREDIT;
    let (texts, taken) = counted(count);
    let options = Options::new().dimensions(64);
    let mut answers = client.embed_stream(texts, &options);
    for index in 0..count {
        let answer = answers.next().await.expect("an answer")?;
        answer.vector?;
        assert_eq!(answer.index, index);
        if index % CREDIT == 7 {
            sleep(Duration::from_millis(200)).await;
        }
        let ahead = taken.load(Ordering::Relaxed) - index;
        assert!(ahead <= CREDIT, "{ahead} texts are taken ahead");
    }
    assert!(answers.next().await.is_none());
    Ok(())
}

async fn texts_are_sent_while_the_source_waits(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let (texts, source) = mpsc::channel(1);
    let mut answers = client.embed_stream(ReceiverStream::new(source), &Options::new());
    for index in 0..3 {
        texts.send("Mars").await?;
        let answer = timeout(SECONDS, answers.next()).await?.expect("an answer")?;
        assert_eq!(answer.index, index);
    }
    drop(texts);
    assert!(timeout(SECONDS, answers.next()).await?.is_none());
    Ok(())
}

async fn a_source_that_panics_ends_the_call_alone(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let streaming = client.clone();
    let task = tokio::spawn(async move {
        let texts = (0..100).map(|i| {
            // Without the hook's report in the tests' output.
            if i == 70 {
                std::panic::resume_unwind(Box::new("no more"));
            }
            format!("text {i}")
        });
        let mut answers = streaming.embed_stream(tokio_stream::iter(texts), &Options::new());
        while answers.next().await.is_some() {}
    });
    assert!(task.await.unwrap_err().is_panic());
    client.embed_query("Mars", None).await?;
    Ok(())
}

async fn a_dropped_stream_drops_its_source(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let (texts, taken) = counted(10_000);
    let mut answers = client.embed_stream_unordered(texts, &Options::new());
    answers.next().await.expect("an answer")?;
    drop(answers);
    assert_eq!(Arc::strong_count(&taken), 1);
    assert!(taken.load(Ordering::Relaxed) <= CREDIT);
    Ok(())
}

async fn spans_are_places_in_the_text(servers: &Servers) -> Outcome {
    let client = plain(servers)?;
    let text = "größe: two words";
    let tokens = client.token_spans(text, &Options::new()).await?;
    let ids = client.tokenize(text, &Options::new()).await?;
    assert!(tokens.iter().map(|token| token.id).eq(ids.iter().copied()));
    // A letter may be two tokens, so the spans join as bytes.
    let bytes = |token: &Token| text.as_bytes()[token.span.clone()].to_vec();
    let spelled = String::from_utf8(tokens.iter().flat_map(bytes).collect())?;
    assert_eq!(spelled.replace(' ', ""), text.replace(' ', ""));
    assert_eq!(client.detokenize(ids, false).await?.trim(), text);
    Ok(())
}
