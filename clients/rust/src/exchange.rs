//! The books of an `embed_stream`: ids, credit, order, and what is unanswered. No input or output.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use tonic::Code;

use crate::embedded::Embedded;
use crate::error::{Error, Origin};
use crate::retry::{self, ATTEMPTS};
use crate::split::room;
use crate::v1::embed_stream_request::Payload as Sent;
use crate::v1::embed_stream_response::Payload as Received;
use crate::v1::stream_result::Outcome;
use crate::v1::{EmbedInput, EmbedStreamRequest, EmbedStreamResponse};
use crate::v1::{StreamBatch, StreamOpened, StreamResult};
use crate::vector::Vector;

/// So many texts that a message's own cost vanishes among them.
const TEXTS_PER_MESSAGE: usize = 64;
const BYTES_PER_MESSAGE: usize = 1 << 20;

/// A text that was taken and is not yet answered.
struct Pending {
    input: EmbedInput,
    bytes: usize,
    /// How often it was sent.
    sent: u32,
    /// It was sent on this stream.
    under_way: bool,
}

/// What holds for one stream alone.
#[derive(Default)]
struct Stream {
    opened: Option<StreamOpened>,
    credit: usize,
    under_way: usize,
    leaving: bool,
    /// The pause before the next stream that the server asked for.
    rest: Duration,
    progress: bool,
}

/// One stream follows another: `begin`, then in turns `add` while `wants_text`, `next_batch`, `receive` and
/// `ready`; at the stream's end `ended`.
pub(crate) struct Exchange {
    timeout: Option<Duration>,
    ordered: bool,
    source_ended: bool,
    taken: usize,
    handed: usize,
    pending: BTreeMap<usize, Pending>,
    unsent: VecDeque<usize>,
    /// Answers not yet handed out, by their turn: the index, or the place in which they came.
    answers: BTreeMap<usize, Embedded>,
    answered: usize,
    revision: Option<String>,
    /// Streams in a row that were opened and brought no answer.
    failures: u32,
    /// Streams in a row that no server opened, and when the first of them began.
    absences: u32,
    absent_since: Instant,
    stream: Stream,
}

impl Exchange {
    pub(crate) fn new(ordered: bool, timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            ordered,
            source_ended: false,
            taken: 0,
            handed: 0,
            pending: BTreeMap::new(),
            unsent: VecDeque::new(),
            answers: BTreeMap::new(),
            answered: 0,
            revision: None,
            failures: 0,
            absences: 0,
            absent_since: Instant::now(),
            stream: Stream::default(),
        }
    }

    /// Begins a stream, on which what is unanswered is sent first.
    pub(crate) fn begin(&mut self) {
        self.stream = Stream::default();
        self.unsent = self.pending.keys().copied().collect();
        for pending in self.pending.values_mut() {
            pending.under_way = false;
        }
        if self.absences == 0 {
            self.absent_since = Instant::now();
        }
    }

    /// Whether one more text may be taken: there is credit for it, and room among the texts that were taken
    /// and not yet handed out.
    pub(crate) fn wants_text(&self) -> bool {
        let stream = &self.stream;
        let Some(opened) = &stream.opened else {
            return false;
        };
        let waiting = self.unsent.len();
        !(self.source_ended || stream.leaving)
            && waiting < texts_per_message(opened)
            && waiting < stream.credit
            && self.taken - self.handed < opened.max_inflight_inputs as usize
    }

    /// Whether `next_batch` has something to send.
    pub(crate) fn can_send(&self) -> bool {
        !self.unsent.is_empty() && self.stream.credit > 0 && !self.stream.leaving
    }

    /// Whether this stream is to be half-closed.
    pub(crate) fn sending_done(&self) -> bool {
        let sent_all = self.source_ended && self.unsent.is_empty();
        let opened = self.stream.opened.is_some();
        opened && self.stream.under_way == 0 && (self.stream.leaving || sent_all)
    }

    /// Whether the server owes the stream's opening, an answer, credit or the stream's end.
    pub(crate) fn server_owes(&self) -> bool {
        let stream = &self.stream;
        let credit = stream.credit == 0 && !self.source_ended;
        stream.opened.is_none() || !self.pending.is_empty() || credit || self.sending_done()
    }

    /// Whether every text was taken and answered.
    pub(crate) fn finished(&self) -> bool {
        self.source_ended && self.pending.is_empty()
    }

    pub(crate) fn end_source(&mut self) {
        self.source_ended = true;
    }

    /// Takes the next text.
    pub(crate) fn add(&mut self, input: EmbedInput) {
        let index = self.taken;
        self.taken += 1;
        let bytes = input.encoded_len();
        let limit = self.stream.opened.as_ref().map_or(0, |o| o.max_request_bytes);
        if bytes > room(limit) {
            self.answer(index, Err(Error::too_large(bytes, limit, index)));
            return;
        }
        let pending = Pending { input, bytes, sent: 0, under_way: false };
        self.pending.insert(index, pending);
        self.unsent.push_back(index);
    }

    /// The next message, as far as there is credit. Ids in a message follow each other.
    pub(crate) fn next_batch(&mut self) -> Option<EmbedStreamRequest> {
        let opened = self.stream.opened.as_ref()?;
        if !self.can_send() {
            return None;
        }
        let most_bytes = BYTES_PER_MESSAGE.min(room(opened.max_request_bytes));
        let most_texts = texts_per_message(opened).min(self.stream.credit);
        let first = *self.unsent.front()?;
        let mut inputs = Vec::with_capacity(most_texts.min(self.unsent.len()));
        let mut bytes = 0;
        while let Some(&index) = self.unsent.front() {
            let pending = self.pending.get_mut(&index)?;
            bytes += pending.bytes;
            let fits = inputs.len() < most_texts && bytes <= most_bytes;
            let follows = index == first + inputs.len();
            if !(inputs.is_empty() || fits && follows) {
                break;
            }
            pending.sent += 1;
            pending.under_way = true;
            inputs.push(pending.input.clone());
            self.unsent.pop_front();
        }
        self.stream.credit -= inputs.len();
        self.stream.under_way += inputs.len();
        let batch = StreamBatch { first_id: first as u64, inputs };
        Some(EmbedStreamRequest { payload: Some(Sent::Batch(batch)) })
    }

    /// Takes a message of the server; one that this client does not know is ignored.
    pub(crate) fn receive(&mut self, message: EmbedStreamResponse) -> Result<(), Error> {
        match message.payload {
            Some(Received::Opened(opened)) => {
                let revision = &opened.model_revision;
                if self.revision.get_or_insert_with(|| revision.clone()) != revision {
                    return Err(Error::model_changed());
                }
                self.stream.credit = opened.max_inflight_inputs as usize;
                self.stream.opened = Some(opened);
                self.absences = 0;
            }
            Some(Received::GoAway(go_away)) => {
                let rest = go_away.reconnect_after.and_then(|d| d.try_into().ok());
                self.leave(rest.unwrap_or_default());
            }
            Some(Received::Results(results)) => {
                self.stream.credit += results.granted_inputs as usize;
                for result in results.results {
                    self.take(result);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The answer whose turn has come.
    pub(crate) fn ready(&mut self) -> Option<Embedded> {
        let answer = self.answers.remove(&self.handed)?;
        self.handed += 1;
        Some(answer)
    }

    /// The stream is over, with OK or an error: the pause before the next one, of use unless `finished`.
    /// Fails where another stream would not help or was tried often enough.
    pub(crate) fn ended(&mut self, error: Option<Error>) -> Result<Duration, Error> {
        if self.finished() {
            return Ok(Duration::ZERO);
        }
        let left = error.is_none() && self.stream.leaving;
        let error = error.unwrap_or_else(Error::stream_ended);
        let away = error.code() == Code::Unavailable || error.origin() == Origin::Lost;
        if self.stream.opened.is_none() && away {
            return self.absence(error);
        }
        self.failures = if self.stream.progress { 0 } else { self.failures + 1 };
        if left && self.failures < ATTEMPTS {
            return Ok(self.stream.rest);
        }
        // A text that ends every stream it is on must not be sent for ever.
        let sent = self.pending.values().map(|p| p.sent).max().unwrap_or(0);
        let pause = match retry::pause(&error, self.failures.max(1)) {
            Some(pause) if self.failures.max(sent) < ATTEMPTS => pause,
            _ => return Err(error),
        };
        Ok(pause.max(self.stream.rest))
    }

    /// The pause while no server is there: a restart may take longer than a few tries.
    fn absence(&mut self, error: Error) -> Result<Duration, Error> {
        self.absences += 1;
        let Some(pause) = retry::pause(&error, self.absences) else {
            return Err(error);
        };
        match retry::deadline(self.absent_since, self.timeout) {
            Some(end) => match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Err(error),
                left => Ok(pause.min(left)),
            },
            None => Ok(pause),
        }
    }

    fn take(&mut self, result: StreamResult) {
        let (Ok(index), Some(outcome)) = (usize::try_from(result.id), result.outcome) else {
            return;
        };
        let Some(pending) = self.pending.get(&index).filter(|p| p.under_way) else {
            return;
        };
        let vector = match outcome {
            Outcome::Embedding(embedding) => Vector::decode(embedding).map_err(|e| e.at(index)),
            Outcome::Error(status) => Err(Error::of_text(&status, index)),
        };
        self.stream.under_way -= 1;
        if let Err(error) = &vector
            && let Some(delay) = error.retry_after()
            && pending.sent < ATTEMPTS
            && retry::pause(error, pending.sent).is_some()
        {
            // Another stream's work: the server of this one ends, or has no room.
            self.leave(retry::apart(delay));
            self.pending.entry(index).and_modify(|p| p.under_way = false);
            return;
        }
        self.pending.remove(&index);
        self.stream.progress = true;
        self.answer(index, vector);
    }

    fn answer(&mut self, index: usize, vector: Result<Vector, Error>) {
        let turn = if self.ordered { index } else { self.answered };
        self.answered += 1;
        self.answers.insert(turn, Embedded { index, vector });
    }

    fn leave(&mut self, rest: Duration) {
        self.stream.leaving = true;
        self.stream.rest = self.stream.rest.max(rest);
    }
}

fn texts_per_message(opened: &StreamOpened) -> usize {
    TEXTS_PER_MESSAGE.min(opened.max_inputs_per_message as usize).max(1)
}
