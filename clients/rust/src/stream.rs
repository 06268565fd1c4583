//! Runs an `embed_stream` over one `EmbedStream` after another. The caller alone drives it: no task is
//! started, and dropping it cancels the call.

use std::future::{pending, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::try_unfold;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Streaming;

use crate::connection::Connection;
use crate::embedded::Embedded;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::retry;
use crate::text::Text;
use crate::v1::embed_stream_request::Payload;
use crate::v1::{EmbedOptions, EmbedStreamRequest, EmbedStreamResponse, StreamOpen};

/// Messages that wait for HTTP/2 to take them.
const MESSAGES: usize = 4;

/// Breaks where a stream ends, with its error if it did not end with OK.
type Step = ControlFlow<Option<Error>>;

/// The answers to all texts; see `Client::embed_stream`.
pub(crate) fn answers<S>(
    connection: Arc<Connection>,
    options: EmbedOptions,
    timeout: Option<Duration>,
    ordered: bool,
    texts: S,
) -> impl Stream<Item = Result<Embedded, Error>> + Unpin
where
    S: Stream,
    S::Item: Into<Text>,
{
    let open = StreamOpen { options: Some(options), ordered: false };
    let session = Session {
        connection,
        opening: EmbedStreamRequest { payload: Some(Payload::Open(open)) },
        timeout,
        exchange: Exchange::new(ordered, timeout),
        texts: Box::pin(texts),
        live: None,
        quiet_since: Instant::now(),
    };
    Box::pin(try_unfold(session, async |mut session: Session<S>| {
        let answer = session.next().await?;
        Ok(answer.map(|answer| (answer, session)))
    }))
}

/// A stream under way. The answers are dropped first: that cancels the call instead of half-closing it.
struct Live {
    answers: Streaming<EmbedStreamResponse>,
    /// `None` after the half-close.
    messages: Option<mpsc::Sender<EmbedStreamRequest>>,
}

struct Session<S> {
    connection: Arc<Connection>,
    opening: EmbedStreamRequest,
    timeout: Option<Duration>,
    exchange: Exchange,
    texts: Pin<Box<S>>,
    live: Option<Live>,
    /// Since then the server has owed something and sent nothing.
    quiet_since: Instant,
}

impl<S> Session<S>
where
    S: Stream,
    S::Item: Into<Text>,
{
    /// The next answer; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Embedded>, Error> {
        // The caller's own time is not the server's.
        self.quiet_since = Instant::now();
        loop {
            if let Some(answer) = self.exchange.ready() {
                return Ok(Some(answer));
            }
            if let ControlFlow::Break(error) = self.step().await? {
                self.live = None;
                let pause = self.exchange.ended(error)?;
                if self.exchange.finished() {
                    return Ok(None);
                }
                sleep(pause).await;
            }
        }
    }

    async fn open(&mut self) -> Result<Step, Error> {
        self.exchange.begin();
        self.quiet_since = Instant::now();
        let (messages, queue) = mpsc::channel(MESSAGES);
        let sent = messages.try_send(self.opening.clone());
        debug_assert!(sent.is_ok(), "the queue is empty");
        let answers = tokio::select! {
            answers = self.connection.stream(ReceiverStream::new(queue)) => answers,
            error = silence(self.quiet_since, self.timeout) => return Err(error),
        };
        Ok(match answers {
            Ok(answers) => {
                let messages = Some(messages);
                self.live = Some(Live { answers, messages });
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Some(error)),
        })
    }

    /// Receives, takes a text or sends, whatever is possible first.
    async fn step(&mut self) -> Result<Step, Error> {
        let Some(live) = &mut self.live else {
            return self.open().await;
        };
        let exchange = &mut self.exchange;
        if exchange.sending_done() {
            live.messages = None;
        }
        let owed = exchange.server_owes();
        let (can_send, wants_text) = (exchange.can_send(), exchange.wants_text());
        let texts = &mut self.texts;
        let text = poll_fn(|context| texts.as_mut().poll_next(context));
        let room = async {
            match &live.messages {
                Some(messages) => messages.reserve().await.ok(),
                None => pending().await,
            }
        };
        let mut ended = false;
        tokio::select! {
            biased;
            message = live.answers.message() => {
                self.quiet_since = Instant::now();
                match self.connection.read(message) {
                    Ok(Some(message)) => exchange.receive(message)?,
                    Ok(None) => return Ok(ControlFlow::Break(None)),
                    Err(error) => return Ok(ControlFlow::Break(Some(error))),
                }
            }
            // Texts that are there travel together; while the source waits, those before it are sent.
            text = text, if wants_text => match text {
                Some(text) => exchange.add(text.into().0),
                None => exchange.end_source(),
            },
            room = room, if can_send => match room {
                Some(room) => if let Some(batch) = exchange.next_batch() {
                    room.send(batch);
                },
                None => ended = true,
            },
            error = silence(self.quiet_since, self.timeout), if owed => return Err(error),
        }
        if ended {
            live.messages = None; // the answers say why
        }
        if !owed {
            self.quiet_since = Instant::now();
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Ends with an error when the server has been silent for too long.
async fn silence(since: Instant, timeout: Option<Duration>) -> Error {
    match retry::deadline(since, timeout) {
        Some(end) => {
            sleep_until(end).await;
            Error::deadline(timeout.unwrap_or_default())
        }
        None => pending().await,
    }
}
