//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_stream::Stream;
use tonic::Code;

use crate::builder::ClientBuilder;
use crate::connection::Connection;
use crate::embedded::Embedded;
use crate::error::Error;
use crate::gather::Gathered;
use crate::options::Options;
use crate::retry;
use crate::split::Budget;
use crate::stream;
use crate::text::Text;
use crate::v1::{
    BatchEmbedRequest, ComputeSimilarityRequest, EmbedInput, EmbedRequest, GetModelRequest, Model,
    TaskType,
};
use crate::vector::Vector;

/// A client of one server, with one connection. Clones are cheap and share it; it is closed when the last
/// clone and the last call are dropped. tonic takes the first address of a name that answers, and not all
/// of them in turns: several servers need a proxy before them.
///
/// Every call is cancelled when its future or stream is dropped. A call that met no server, a server that
/// goes away or one that has no room is made again, within its time and as the server asks.
///
/// # Errors
/// Every method fails with an [`Error`], whose [`kind`](Error::kind) says what to do.
#[derive(Clone)]
pub struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) timeout: Option<Duration>,
}

impl Client {
    /// A client of a server that speaks plain text at `HOST:PORT`, with the defaults of
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(address: impl Into<String>) -> Result<Self, Error> {
        Self::builder(address).build()
    }

    /// Sets up a client of the server at `HOST:PORT`: TLS, token and time.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    pub(crate) fn over(connection: Arc<Connection>, timeout: Option<Duration>) -> Self {
        Self { connection, timeout }
    }

    /// A clone whose calls take at most that long, from the first try on; `None`: they wait for ever. An
    /// [`embed`](Self::embed) or a [`similarity`](Self::similarity) that takes several requests has that
    /// time for each of them; a stream fails if the server owes something and is silent for so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self::over(Arc::clone(&self.connection), timeout.into())
    }

    /// The model of the server and its limits. The client asks for it once.
    pub async fn model(&self) -> Result<&Model, Error> {
        let ask = async || {
            let method = async |request| self.connection.models().get_model(request).await;
            let request = GetModelRequest::default();
            let response = self.connection.call(self.timeout, request, method).await?;
            let none = || Error::new(Code::Unknown, "the server named no model");
            response.model.ok_or_else(none)
        };
        let model = self.connection.model.get_or_try_init(ask);
        // The call of another clone may be under way, with more time.
        match retry::deadline(Instant::now(), self.timeout) {
            Some(end) => {
                let late = |_| Err(Error::deadline(self.timeout.unwrap_or_default()));
                timeout_at(end, model).await.unwrap_or_else(late)
            }
            None => model.await,
        }
    }

    /// The vector of a search query. `dimensions` is one of `Model.supported_dimensions`.
    pub async fn embed_query(
        &self,
        text: impl Into<Text>,
        dimensions: Option<u32>,
    ) -> Result<Vec<f32>, Error> {
        let options = of_task(TaskType::RetrievalQuery, dimensions);
        floats(self.embed_one(text, &options).await?)
    }

    /// The vectors of documents to search in, in their order; see [`Text::with_title`].
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn embed_documents<I>(
        &self,
        texts: I,
        dimensions: Option<u32>,
    ) -> Result<Vec<Vec<f32>>, Error>
    where
        I: IntoIterator,
        I::Item: Into<Text>,
    {
        let options = of_task(TaskType::RetrievalDocument, dimensions);
        let vectors = self.embed(texts, &options).await?;
        vectors.into_iter().map(floats).collect()
    }

    /// The vector of one text: the fastest way to it.
    pub async fn embed_one(
        &self,
        text: impl Into<Text>,
        options: &Options,
    ) -> Result<Vector, Error> {
        let request = EmbedRequest { input: Some(text.into().0), options: Some(options.0.clone()) };
        let method = async |request| self.connection.embedding().embed(request).await;
        let response = self.connection.call(self.timeout, request, method).await?;
        let none = || Error::new(Code::Unknown, "the server sent no vector");
        Vector::decode(response.embedding.ok_or_else(none)?)
    }

    /// The vectors of texts, in their order, in as many requests as the server's limits ask for. For more
    /// than some thousand texts see [`embed_stream`](Self::embed_stream).
    ///
    /// # Errors
    /// If texts fail, the error of the first of them, whose [`errors`](Error::errors) has all. Code
    /// FAILED_PRECONDITION, reason MODEL_CHANGED: requests were answered by different models.
    pub async fn embed<I>(&self, texts: I, options: &Options) -> Result<Vec<Vector>, Error>
    where
        I: IntoIterator,
        I::Item: Into<Text>,
    {
        let mut inputs = inputs(texts);
        let budget = Budget::embedding(self.model().await?, &options.0);
        let mut gathered = Gathered::with_capacity(inputs.len());
        for request in budget.split(&inputs)? {
            let request = BatchEmbedRequest {
                inputs: inputs.drain(..request.len()).collect(),
                options: Some(options.0.clone()),
            };
            let count = request.inputs.len();
            let method = async |request| self.connection.embedding().batch_embed(request).await;
            let response = self.connection.call(self.timeout, request, method).await?;
            gathered.place(count, response.model_revision, response.results)?;
        }
        gathered.finish()
    }

    /// The vectors of any number of texts, in their order, over one stream. Texts are taken from the source
    /// one by one as the server has room, and at most the server's credit (256 unless it says otherwise) is
    /// taken and not yet handed out. Server restarts are survived.
    ///
    /// The source is any stream; an iterator becomes one by `tokio_stream::iter` or `futures::stream::iter`.
    /// Nothing happens unless the result is polled.
    ///
    /// # Errors
    /// A text that fails comes as its error in its place. An error of the stream itself is its last item.
    pub fn embed_stream<S>(
        &self,
        texts: S,
        options: &Options,
    ) -> impl Stream<Item = Result<Embedded, Error>> + Unpin + use<S>
    where
        S: Stream,
        S::Item: Into<Text>,
    {
        self.answers(texts, options, true)
    }

    /// As [`embed_stream`](Self::embed_stream), but answers come as soon as they are there, in any order.
    pub fn embed_stream_unordered<S>(
        &self,
        texts: S,
        options: &Options,
    ) -> impl Stream<Item = Result<Embedded, Error>> + Unpin + use<S>
    where
        S: Stream,
        S::Item: Into<Text>,
    {
        self.answers(texts, options, false)
    }

    fn answers<S>(
        &self,
        texts: S,
        options: &Options,
        ordered: bool,
    ) -> impl Stream<Item = Result<Embedded, Error>> + Unpin + use<S>
    where
        S: Stream,
        S::Item: Into<Text>,
    {
        let connection = Arc::clone(&self.connection);
        stream::answers(connection, options.0.clone(), self.timeout, ordered, texts)
    }

    /// The cosine of each target with the source, from -1 to 1, in the targets' order. `target_options`
    /// are for the targets where they differ; model and dimensions must agree.
    ///
    /// # Errors
    /// As [`embed`](Self::embed); a source that fails fails the call.
    pub async fn similarity<I>(
        &self,
        source: impl Into<Text>,
        targets: I,
        options: &Options,
        target_options: Option<&Options>,
    ) -> Result<Vec<f32>, Error>
    where
        I: IntoIterator,
        I::Item: Into<Text>,
    {
        let mut targets = inputs(targets);
        let source = source.into().0;
        let prompts = [&options.0, &target_options.unwrap_or(options).0];
        let budget = Budget::similarity(self.model().await?, &prompts);
        let mut gathered = Gathered::with_capacity(targets.len());
        for request in budget.split(&targets)? {
            let request = ComputeSimilarityRequest {
                source: Some(source.clone()),
                targets: targets.drain(..request.len()).collect(),
                options: Some(options.0.clone()),
                target_options: target_options.map(|options| options.0.clone()),
            };
            let count = request.targets.len();
            let method =
                async |request| self.connection.embedding().compute_similarity(request).await;
            let response = self.connection.call(self.timeout, request, method).await?;
            gathered.place(count, response.model_revision, response.results)?;
        }
        gathered.finish()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn inputs<I>(texts: I) -> Vec<EmbedInput>
where
    I: IntoIterator,
    I::Item: Into<Text>,
{
    texts.into_iter().map(|text| text.into().0).collect()
}

fn of_task(task: TaskType, dimensions: Option<u32>) -> Options {
    Options::new().task(task).dimensions(dimensions.unwrap_or(0))
}

fn floats(vector: Vector) -> Result<Vec<f32>, Error> {
    let other = || Error::new(Code::Unknown, "the server answered in an encoding not asked for");
    vector.into_floats().ok_or_else(other)
}
