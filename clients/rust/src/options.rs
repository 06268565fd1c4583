//! How texts are embedded.

use crate::v1::{EmbedOptions, TaskType, Truncation, VectorEncoding, embed_options::Prompt};

/// How texts are embedded; an option that is not set is the server's default.
///
/// [`task`](Self::task), [`prompt_name`](Self::prompt_name) and [`prompt`](Self::prompt) say what is put
/// before each text and replace each other.
///
/// ```
/// use gemwire::{Options, TaskType, VectorEncoding};
///
/// let options = Options::new()
///     .task(TaskType::Clustering)
///     .dimensions(128)
///     .encoding(VectorEncoding::Float16);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options(pub(crate) EmbedOptions);

impl Options {
    /// The server's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the prompt of a task of the model card before each text.
    pub fn task(mut self, task: TaskType) -> Self {
        self.0.prompt = Some(Prompt::Task(task.into()));
        self
    }

    /// Puts a prompt of the model's own table, `Model.prompts`, before each text.
    pub fn prompt_name(mut self, name: impl Into<String>) -> Self {
        self.0.prompt = Some(Prompt::PromptName(name.into()));
        self
    }

    /// Puts this prompt before each text, as it is.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.0.prompt = Some(Prompt::PromptText(prompt.into()));
        self
    }

    /// Asks for vectors of that size, one of `Model.supported_dimensions`. 0 is the model's default.
    pub fn dimensions(mut self, dimensions: u32) -> Self {
        self.0.output_dimensionality = dimensions;
        self
    }

    /// `false` leaves a shortened vector as it is; otherwise it is normalized again.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.0.normalize = Some(normalize);
        self
    }

    /// Says what happens to a text that is longer than the model's window. The default refuses it.
    pub fn truncation(mut self, truncation: Truncation) -> Self {
        self.0.truncation = truncation.into();
        self
    }

    /// Says how vectors travel; see [`Vector`](crate::Vector). The default is float32.
    pub fn encoding(mut self, encoding: VectorEncoding) -> Self {
        self.0.encoding = encoding.into();
        self
    }

    /// A higher priority runs first, from -10 to 10. 0 is normal.
    pub fn priority(mut self, priority: i32) -> Self {
        self.0.priority = priority;
        self
    }
}
