//! Errors of calls and of single texts.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt, pb};

/// The domain of every `ErrorInfo` that a gemwire server sends.
const DOMAIN: &str = "gemwire.dev";
/// How tonic's status begins where an HTTP/2 stream ended without a gRPC status. tonic has no type for it.
const CUT: [&str; 2] =
    ["protocol error: missing grpc-status trailer", "Unexpected EOF decoding stream"];

/// What a caller would do differently: the type of an error, by its gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request, or this text, cannot be served as it is.
    InvalidInput,
    /// The server has no such model.
    NotFound,
    /// The server has no room now; see [`Error::retry_after`].
    Overloaded,
    /// The time ran out.
    DeadlineExceeded,
    /// No server answered, or it is going away.
    Unavailable,
    /// Credentials are missing, wrong or not enough.
    AccessDenied,
    /// The server could not compute this; its log says more.
    EngineFailure,
    /// Every other error; see [`Error::code`].
    Other,
}

/// Where an error comes from, which decides whether the call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A gemwire server: the error has its `ErrorInfo`.
    Server,
    /// No connection was made, so no server has begun to work on the call.
    Unreached,
    /// The connection was lost, or a proxy says that it lost its own.
    Lost,
    /// This client, or a proxy that refuses the call.
    Other,
}

/// A call, or one text of many, failed. No error holds a text.
#[derive(Clone, Debug)]
pub struct Error(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    origin: Origin,
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    fields: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    index: Option<usize>,
    errors: BTreeMap<usize, Error>,
}

impl Error {
    /// The type of the error.
    pub fn kind(&self) -> ErrorKind {
        match self.0.code {
            Code::InvalidArgument => ErrorKind::InvalidInput,
            Code::NotFound => ErrorKind::NotFound,
            Code::ResourceExhausted => ErrorKind::Overloaded,
            Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            // No caller of this library cancels a call and then sees its error.
            Code::Unavailable | Code::Cancelled => ErrorKind::Unavailable,
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::AccessDenied,
            Code::Internal => ErrorKind::EngineFailure,
            _ => ErrorKind::Other,
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name of a value of [`ErrorReason`](crate::v1::ErrorReason) without `ERROR_REASON_`; empty if the
    /// error is not a gemwire server's.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The metadata of `ErrorInfo`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// What is wrong in the request: the path of a field → a description.
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.0.fields
    }

    /// The server's delay before another try; `None` where another try as it is would not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The place of the text among the texts of the call, for the error of a text.
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }

    /// The errors of all texts that failed, by index, where a call failed because of texts.
    pub fn errors(&self) -> &BTreeMap<usize, Error> {
        &self.0.errors
    }

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            origin: Origin::Other,
            code,
            message: message.into(),
            reason: String::new(),
            metadata: HashMap::new(),
            fields: BTreeMap::new(),
            retry_after: None,
            index: None,
            errors: BTreeMap::new(),
        }))
    }

    /// The error of a call. A status that tonic made itself for want of an answer has a source or begins as
    /// `CUT` does. Its code says little: it depends on the moment and on the features of tonic.
    pub(crate) fn from_status(status: &Status) -> Self {
        let code = status.code();
        if let Some(source) = status.source() {
            return Self::of_transport(source);
        }
        if CUT.iter().any(|start| status.message().starts_with(start)) {
            return Self::lost(Origin::Lost, status.message());
        }
        Self::with_details(code, status.message(), status.get_error_details())
    }

    /// The error of a text.
    pub(crate) fn of_text(status: &pb::Status, index: usize) -> Self {
        let code = Code::from(status.code);
        Self::with_details(code, &status.message, status.get_error_details()).at(index)
    }

    pub(crate) fn deadline(timeout: Duration) -> Self {
        let message = format!("no answer for {} s", timeout.as_secs_f64());
        Self::new(Code::DeadlineExceeded, message)
    }

    pub(crate) fn stream_ended() -> Self {
        Self::lost(Origin::Lost, "the server ended the stream")
    }

    pub(crate) fn model_changed() -> Self {
        let mut error = Self::new(
            Code::FailedPrecondition,
            "another server answered with another revision of the model: its vectors do not compare with \
             those before",
        );
        error.0.reason = "MODEL_CHANGED".to_owned();
        error
    }

    pub(crate) fn too_large(bytes: usize, limit: u32, index: usize) -> Self {
        let message = format!("the text has {bytes} bytes; a request takes {limit}");
        let mut error = Self::new(Code::InvalidArgument, message).at(index);
        error.0.reason = "TEXT_TOO_LONG".to_owned();
        error
    }

    /// The error of the first text, which has those of all texts.
    pub(crate) fn of_several(errors: BTreeMap<usize, Error>) -> Option<Self> {
        let mut first = errors.values().next()?.clone();
        first.0.errors = errors;
        Some(first)
    }

    pub(crate) fn at(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin
    }

    fn with_details(code: Code, message: &str, details: ErrorDetails) -> Self {
        let mut error = Self::new(code, message);
        match details.error_info() {
            Some(info) if info.domain == DOMAIN => {
                error.0.origin = Origin::Server;
                error.0.reason = info.reason.clone();
                error.0.metadata = info.metadata.clone();
                let violations = details.bad_request().map(|b| b.field_violations.iter());
                error.0.fields = violations
                    .into_iter()
                    .flatten()
                    .map(|v| (v.field.clone(), v.description.clone()))
                    .collect();
                error.0.retry_after = details.retry_info().and_then(|r| r.retry_delay);
            }
            // What a server does not say itself is gRPC's or a proxy's word.
            _ if matches!(code, Code::Unavailable | Code::Cancelled) => {
                error.0.origin = Origin::Lost;
            }
            _ => {}
        }
        error
    }

    fn of_transport(source: &(dyn StdError + 'static)) -> Self {
        let mut message = String::new();
        let mut origin = Origin::Lost;
        let mut next = Some(source);
        while let Some(error) = next {
            if error.is::<TimeoutExpired>() {
                return Self::new(Code::DeadlineExceeded, "the time ran out");
            }
            if error.is::<ConnectError>() {
                origin = Origin::Unreached;
            }
            let text = error.to_string();
            if !message.contains(&text) {
                message += if message.is_empty() { "" } else { ": " };
                message += &text;
            }
            next = error.source();
        }
        Self::lost(origin, &message)
    }

    fn lost(origin: Origin, said: &str) -> Self {
        let what = match origin {
            Origin::Unreached => "no server was reached",
            _ => "the connection to the server was lost",
        };
        let mut error = Self::new(Code::Unavailable, format!("{what} ({said})"));
        error.0.origin = origin;
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.0.index {
            write!(f, "text {index}: ")?;
        }
        write!(f, "{:?}: {}", self.0.code, self.0.message)
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tonics_own_timer_is_the_deadline() {
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(status.code(), Code::Cancelled);
        assert_eq!(Error::from_status(&status).kind(), ErrorKind::DeadlineExceeded);
    }

    #[test]
    fn what_tonic_says_of_a_connection_is_a_lost_one() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Error::from_status(&Status::from_error(Box::new(ConnectError(refused.into()))));
        assert_eq!((error.kind(), error.origin()), (ErrorKind::Unavailable, Origin::Unreached));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let status = Status::from_error(Box::new(reset));
        assert_eq!(status.code(), Code::Unknown);
        let error = Error::from_status(&status);
        assert_eq!((error.kind(), error.origin()), (ErrorKind::Unavailable, Origin::Lost));
    }

    #[test]
    fn a_status_of_that_code_from_elsewhere_is_none() {
        for status in [Status::unknown("a proxy"), Status::internal("a proxy")] {
            assert_eq!(Error::from_status(&status).origin(), Origin::Other);
        }
    }
}
