//! A client's connection: the channel, the metadata of every call, and how a unary call is made.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::error::{Error, Origin};
use crate::retry::Tries;
use crate::v1::embedding_service_client::EmbeddingServiceClient;
use crate::v1::model_service_client::ModelServiceClient;
use crate::v1::{EmbedStreamRequest, EmbedStreamResponse, Model};

/// Sends a token with every call.
#[derive(Clone)]
pub(crate) struct Bearer(pub(crate) Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

pub(crate) struct Connection {
    embedding: EmbeddingServiceClient<Service>,
    models: ModelServiceClient<Service>,
    /// A server has answered this client.
    known: AtomicBool,
    pub(crate) model: OnceCell<Model>,
}

impl Connection {
    pub(crate) fn new(channel: Channel, bearer: Bearer, receive_bytes: usize) -> Self {
        let service = InterceptedService::new(channel, bearer);
        Self {
            embedding: EmbeddingServiceClient::new(service.clone())
                .max_decoding_message_size(receive_bytes),
            models: ModelServiceClient::new(service).max_decoding_message_size(receive_bytes),
            known: AtomicBool::new(false),
            model: OnceCell::new(),
        }
    }

    pub(crate) fn embedding(&self) -> EmbeddingServiceClient<Service> {
        self.embedding.clone()
    }

    pub(crate) fn models(&self) -> ModelServiceClient<Service> {
        self.models.clone()
    }

    /// The response to a unary call, which is tried again as far as that helps.
    pub(crate) async fn call<M, R, F>(
        &self,
        timeout: Option<Duration>,
        message: M,
        method: impl Fn(Request<M>) -> F,
    ) -> Result<R, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut tries = Tries::new(timeout);
        loop {
            let mut request = Request::new(message.clone());
            let result = match tries.deadline() {
                Some(end) => {
                    request.set_timeout(end.saturating_duration_since(Instant::now()));
                    // tonic's own timer ends with the headers of the answer.
                    let late = |_| Err(Error::deadline(timeout.unwrap_or_default()));
                    let answer = timeout_at(end, method(request)).await;
                    answer.map_or_else(late, |result| self.read(result))
                }
                None => self.read(method(request).await),
            };
            match result {
                Ok(response) => return Ok(response.into_inner()),
                Err(error) => {
                    let known = self.known.load(Ordering::Relaxed);
                    sleep(tries.pause(error, known)?).await;
                }
            }
        }
    }

    /// The answers of a new stream, once the server has sent its headers.
    pub(crate) async fn stream(
        &self,
        messages: impl Stream<Item = EmbedStreamRequest> + Send + 'static,
    ) -> Result<Streaming<EmbedStreamResponse>, Error> {
        let response = self.read(self.embedding().embed_stream(messages).await)?;
        Ok(response.into_inner())
    }

    /// Translates a status, and notes that a server has answered.
    pub(crate) fn read<T>(&self, result: Result<T, Status>) -> Result<T, Error> {
        let result = result.map_err(|status| Error::from_status(&status));
        let answered = match &result {
            Ok(_) => true,
            Err(error) => error.origin() == Origin::Server,
        };
        if answered {
            self.known.store(true, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use h2::Reason;
    use http::{HeaderValue, Response};
    use tokio::net::TcpListener;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::{Client, ErrorKind, Options};

    const TIMEOUT: Duration = Duration::from_millis(600);

    /// What calls said of their time.
    type Timeouts = Arc<Mutex<Vec<Option<HeaderValue>>>>;

    /// A client of a server that resets every call, after its headers or before them; and its calls.
    async fn resetting(reason: Reason, after_headers: bool) -> (Client, Timeouts) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap().to_string()).unwrap();
        let calls = Timeouts::default();
        let seen = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    seen.lock().unwrap().push(request.headers().get("grpc-timeout").cloned());
                    if !after_headers {
                        respond.send_reset(reason);
                        continue;
                    }
                    let headers = Response::builder().header("content-type", "application/grpc");
                    let mut body = respond.send_response(headers.body(()).unwrap(), false).unwrap();
                    tokio::spawn(async move {
                        // The client has read the headers by then.
                        sleep(Duration::from_millis(30)).await;
                        body.send_reset(reason);
                    });
                }
            }
        });
        (client, calls)
    }

    /// tonic gives UNKNOWN for it. Where an application turns on tonic's feature `server`, it gives INTERNAL,
    /// CANCELLED and others, by the reason.
    #[tokio::test]
    async fn a_call_that_is_reset_without_a_status_is_lost() {
        for reason in
            [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM]
        {
            for after_headers in [false, true] {
                let (client, calls) = resetting(reason, after_headers).await;
                let error = client.with_timeout(TIMEOUT).embed_query("a", None).await.unwrap_err();
                let what = format!("{reason} {after_headers}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}");
                assert!(calls.lock().unwrap().len() >= 2, "{what}");
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_reset_is_opened_again() {
        for after_headers in [false, true] {
            let (client, calls) = resetting(Reason::CANCEL, after_headers).await;
            let client = client.with_timeout(TIMEOUT);
            let mut answers = client.embed_stream(tokio_stream::iter(["a"]), &Options::new());
            let error = answers.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            let calls = calls.lock().unwrap();
            assert!(calls.len() >= 2 && calls.iter().all(Option::is_none), "{calls:?}");
        }
    }

    #[tokio::test]
    async fn each_try_says_what_is_left_of_the_time() {
        let (client, calls) = resetting(Reason::CANCEL, false).await;
        client.with_timeout(TIMEOUT).embed_query("a", None).await.unwrap_err();
        client.with_timeout(None).embed_query("a", None).await.unwrap_err();
        let mut left = Vec::new();
        let calls = calls.lock().unwrap();
        for value in calls.iter().flatten() {
            let (number, unit) = value.to_str().unwrap().split_at(value.len() - 1);
            let factor =
                [("n", 1), ("u", 1_000), ("m", 1_000_000)].into_iter().find(|f| f.0 == unit);
            left.push(Duration::from_nanos(number.parse::<u64>().unwrap() * factor.unwrap().1));
        }
        assert!(left[0] <= TIMEOUT && left[0] > TIMEOUT / 2, "{left:?}");
        let pauses = left.windows(2).map(|two| two[0].checked_sub(two[1]).unwrap());
        assert!(pauses.clone().all(|pause| pause >= Duration::from_millis(100)), "{left:?}");
        assert!(pauses.count() >= 1);
        // Without a timeout none is sent.
        assert_eq!(calls.len() - left.len(), 5);
    }

    #[tokio::test]
    async fn a_call_that_waits_for_the_model_of_another_has_its_own_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap().to_string()).unwrap();
        let patient = client.with_timeout(Duration::from_secs(5));
        let first = tokio::spawn(async move { patient.model().await.map(|_| ()) });
        sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        let error = client.with_timeout(TIMEOUT).model().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(!first.is_finished(), "it has more time");
    }
}
