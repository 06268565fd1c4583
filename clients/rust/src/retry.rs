//! After which errors a call is made again, how often, and after which pause.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use crate::error::{Error, Origin};

/// The most tries of a call, sendings of a text, and streams in a row that bring no answer.
pub(crate) const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: f64 = 0.1;
const LONGEST_BACKOFF: f64 = 5.0;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const FOREVER: Duration = Duration::from_secs(1_000_000_000);

/// The pause after that many failures in a row to reach a server, or to keep the connection.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE * f64::from(1u32 << failures.saturating_sub(1).min(6));
    apart(Duration::from_secs_f64(doubled.min(LONGEST_BACKOFF)))
}

/// The pause after the failure of that number; `None` where another try would not help.
pub(crate) fn pause(error: &Error, failures: u32) -> Option<Duration> {
    match (error.origin(), error.code()) {
        (Origin::Server, Code::ResourceExhausted) => {
            let delay = error.retry_after()?;
            Some(apart(delay)).filter(|pause| *pause <= LONGEST_PAUSE)
        }
        // Another server may answer at once: the first pause is short, whatever this one asks for.
        (Origin::Server, Code::Unavailable) if failures > 1 => {
            Some(backoff(failures).max(error.retry_after().unwrap_or_default()))
        }
        (Origin::Server, Code::Unavailable) | (Origin::Lost | Origin::Unreached, _) => {
            Some(backoff(failures))
        }
        _ => None,
    }
}

/// That time or a little more: callers that were refused together must not come back together.
pub(crate) fn apart(delay: Duration) -> Duration {
    delay.mul_f64(1.0 + 0.3 * fastrand::f64())
}

/// The instant at which a time ends; `None` is never.
pub(crate) fn deadline(start: Instant, timeout: Option<Duration>) -> Option<Instant> {
    // gRPC's header has room for eight digits: thirty years are for ever.
    let timeout = timeout.filter(|timeout| *timeout < FOREVER)?;
    start.checked_add(timeout)
}

/// The tries of one unary call.
pub(crate) struct Tries {
    deadline: Option<Instant>,
    failures: u32,
    lost: u32,
}

impl Tries {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { deadline: deadline(Instant::now(), timeout), failures: 0, lost: 0 }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The pause before the call is made again, or the error if it must not be. `known`: a server has
    /// answered this client before.
    pub(crate) fn pause(&mut self, error: Error, known: bool) -> Result<Duration, Error> {
        self.failures += 1;
        self.lost += u32::from(error.origin() == Origin::Lost);
        let waits_for_server = known && error.code() != Code::ResourceExhausted;
        // A call that is lost again and again may be what ends the servers.
        let tries = if waits_for_server { self.lost } else { self.failures };
        let pause = pause(&error, self.failures).filter(|pause| {
            let left = self.deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let in_time = left.is_none_or(|left| *pause < left);
            in_time && tries < ATTEMPTS
        });
        pause.ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message;
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt, pb};

    use super::*;

    fn said(code: Code, delay: Option<f64>) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info("A_REASON", "gemwire.dev", HashMap::new());
        if let Some(delay) = delay {
            details.set_retry_info(Some(Duration::from_secs_f64(delay)));
        }
        Error::from_status(&Status::with_error_details(code, "", details))
    }

    fn lost() -> Error {
        Error::from_status(&Status::unavailable("a proxy"))
    }

    fn within(pause: Option<Duration>, least: f64, most: f64) -> bool {
        pause.is_some_and(|pause| (least..=most + 1e-6).contains(&pause.as_secs_f64()))
    }

    #[test]
    fn the_pause_doubles_up_to_five_seconds() {
        for (failures, least) in
            [(1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0), (4_000_000_000, 5.0)]
        {
            assert!(within(pause(&lost(), failures), least, 1.3 * least), "{failures}");
        }
    }

    #[test]
    fn the_server_says_how_long() {
        let busy = said(Code::ResourceExhausted, Some(2.0));
        assert!(within(pause(&busy, 1), 2.0, 2.6));
        assert!(within(pause(&busy, 4), 2.0, 2.6));
        assert!(within(pause(&said(Code::ResourceExhausted, Some(46.0)), 1), 46.0, 59.8));
        assert_eq!(pause(&said(Code::ResourceExhausted, Some(61.0)), 1), None);
        assert_eq!(pause(&said(Code::ResourceExhausted, None), 1), None);
        let away = said(Code::Unavailable, Some(2.0));
        assert!(within(pause(&away, 1), 0.1, 0.13));
        assert!(within(pause(&away, 2), 2.0, 2.0));
        assert_eq!(pause(&said(Code::Internal, Some(2.0)), 1), None);
    }

    #[test]
    fn a_server_that_never_answered_is_tried_five_times() {
        let mut tries = Tries::new(None);
        for _ in 0..4 {
            assert!(tries.pause(said(Code::Unavailable, None), false).is_ok());
        }
        assert!(tries.pause(said(Code::Unavailable, None), false).is_err());
    }

    #[test]
    fn a_known_server_is_waited_for_but_a_call_that_is_lost_ends() {
        let mut tries = Tries::new(None);
        for _ in 0..20 {
            assert!(tries.pause(said(Code::Unavailable, None), true).is_ok());
        }
        for _ in 0..4 {
            assert!(tries.pause(lost(), true).is_ok());
        }
        assert!(tries.pause(lost(), true).is_err());
        let mut tries = Tries::new(None);
        for _ in 0..4 {
            assert!(tries.pause(said(Code::ResourceExhausted, Some(0.0)), true).is_ok());
        }
        assert!(tries.pause(said(Code::ResourceExhausted, Some(0.0)), true).is_err());
    }

    #[test]
    fn no_pause_goes_beyond_the_deadline() {
        let mut tries = Tries::new(Some(Duration::from_secs(10)));
        assert!(tries.pause(said(Code::ResourceExhausted, Some(5.0)), true).is_ok());
        assert!(tries.pause(said(Code::ResourceExhausted, Some(11.0)), true).is_err());
    }

    #[test]
    fn thirty_years_are_for_ever() {
        let now = Instant::now();
        assert_eq!(deadline(now, Some(Duration::MAX)), None);
        assert_eq!(deadline(now, None), None);
        assert!(deadline(now, Some(Duration::from_secs(999_999_999))).is_some());
    }

    #[test]
    fn a_delay_beyond_the_end_of_the_clock_is_not_waited_for() {
        let any = |name: &str, value| prost_types::Any {
            type_url: format!("type.googleapis.com/google.rpc.{name}"),
            value,
        };
        let info = pb::ErrorInfo { domain: "gemwire.dev".to_owned(), ..pb::ErrorInfo::default() };
        let delay = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let retry = pb::RetryInfo { retry_delay: Some(delay) };
        let details =
            vec![any("ErrorInfo", info.encode_to_vec()), any("RetryInfo", retry.encode_to_vec())];
        let code = Code::Unavailable.into();
        let error = Error::of_text(&pb::Status { code, details, ..pb::Status::default() }, 0);
        assert!(error.retry_after().is_some());
        let mut tries = Tries::new(Some(Duration::from_secs(10)));
        assert!(tries.pause(error.clone(), true).is_ok());
        assert!(tries.pause(error, true).is_err());
    }
}
