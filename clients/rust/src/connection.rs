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
