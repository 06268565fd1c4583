//! Splits the texts of a call into requests that a server takes.

use std::ops::Range;

use prost::Message;

use crate::error::Error;
use crate::v1::{EmbedInput, EmbedOptions, Limits, Model, embed_options::Prompt};

/// Bytes of a message beside its texts: options, and a few for each text.
const MESSAGE_OVERHEAD: usize = 65_536;
/// Bytes of an answer beside its results, of a result beside its vector, and of an error in its place.
const ANSWER_OVERHEAD: usize = 1_024;
const RESULT_OVERHEAD: usize = 48;
const ERROR_BYTES: usize = 512;
/// Bytes of a text in a message beside its own: its tag and its length.
const INPUT_OVERHEAD: usize = 8;

/// Bytes of texts that fit in one message of at most that many bytes.
pub(crate) fn room(max_request_bytes: u32) -> usize {
    let bytes = max_request_bytes as usize;
    bytes.saturating_sub(MESSAGE_OVERHEAD).max(bytes / 2)
}

/// What one request may hold.
pub(crate) struct Budget {
    inputs: usize,
    max_request_bytes: u32,
    /// Tokens of all texts; `None`: any number.
    tokens: Option<usize>,
    /// Tokens of one text, at most.
    window: usize,
    prompt_bytes: usize,
}

impl Budget {
    /// The budget of a `BatchEmbed`.
    pub(crate) fn embedding(model: &Model, options: &EmbedOptions) -> Self {
        let dimensions = match (options.output_dimensionality, model.default_dimensions) {
            (0, 0) => model.dimensions,
            (0, default) => default,
            (asked, _) => asked,
        };
        let answer = (4 * dimensions as usize + RESULT_OVERHEAD).max(ERROR_BYTES);
        Self::new(model, &[options], answer)
    }

    /// The budget of the targets of a `ComputeSimilarity`: less the source, which counts besides them.
    pub(crate) fn similarity(model: &Model, options: &[&EmbedOptions]) -> Self {
        let mut budget = Self::new(model, options, ERROR_BYTES);
        let limits = model.limits.unwrap_or_default();
        let others = limits.max_inputs_per_request.saturating_sub(1) as usize;
        budget.inputs = budget.inputs.min(others).max(1);
        let window = budget.window;
        budget.tokens = budget.tokens.map(|t| t.saturating_sub(window).max(1));
        budget
    }

    fn new(model: &Model, options: &[&EmbedOptions], answer_bytes: usize) -> Self {
        let limits: Limits = model.limits.unwrap_or_default();
        let mut inputs = limits.max_inputs_per_request as usize;
        if limits.max_response_bytes > 0 {
            let results = (limits.max_response_bytes as usize).saturating_sub(ANSWER_OVERHEAD);
            inputs = inputs.min(results / answer_bytes);
        }
        let own = options.iter().map(|o| match &o.prompt {
            Some(Prompt::PromptText(text)) => text.len(),
            _ => 0,
        });
        let prompts = model.prompts.values().map(String::len).chain(own);
        let tokens = limits.max_queue_tokens as usize;
        Self {
            inputs: inputs.max(1),
            max_request_bytes: limits.max_request_bytes,
            tokens: (tokens > 0).then_some(tokens),
            window: model.max_input_tokens as usize,
            prompt_bytes: prompts.max().unwrap_or(0),
        }
    }

    /// Neighbours that fit in one request each. No token stands for less than a byte of a text and its
    /// prompt, and no text has more tokens than the window: so the tokens fit as well.
    ///
    /// # Errors
    /// `InvalidInput`, reason `TEXT_TOO_LONG`, for a text that fits in no request.
    pub(crate) fn split(&self, inputs: &[EmbedInput]) -> Result<Vec<Range<usize>>, Error> {
        let room = room(self.max_request_bytes);
        let mut requests = Vec::new();
        let (mut start, mut bytes, mut tokens) = (0, 0, 0);
        for (index, input) in inputs.iter().enumerate() {
            let own = input.encoded_len() + INPUT_OVERHEAD;
            if own > room {
                return Err(Error::too_large(own, self.max_request_bytes, index));
            }
            let own_tokens = self.window.min(own + self.prompt_bytes);
            let full = index - start >= self.inputs
                || bytes + own > room
                || self.tokens.is_some_and(|most| tokens + own_tokens > most);
            if full && index > start {
                requests.push(start..index);
                (start, bytes, tokens) = (index, 0, 0);
            }
            bytes += own;
            tokens += own_tokens;
        }
        if start < inputs.len() {
            requests.push(start..inputs.len());
        }
        Ok(requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;

    fn model(limits: Limits) -> Model {
        Model {
            dimensions: 768,
            max_input_tokens: 100,
            limits: Some(Limits {
                max_inputs_per_request: 1_000,
                max_request_bytes: 1 << 24,
                ..limits
            }),
            ..Model::default()
        }
    }

    fn texts(count: usize, bytes: usize) -> Vec<EmbedInput> {
        (0..count).map(|_| Text::from("a".repeat(bytes)).0).collect()
    }

    /// The numbers of texts of the requests, which follow each other and leave none out.
    fn sizes(budget: &Budget, inputs: &[EmbedInput]) -> Vec<usize> {
        let mut next = 0;
        let mut sizes = Vec::new();
        for request in budget.split(inputs).unwrap() {
            assert_eq!(request.start, next);
            next = request.end;
            sizes.push(request.len());
        }
        assert_eq!(next, inputs.len());
        sizes
    }

    #[test]
    fn texts_split_at_the_number_of_inputs() {
        let budget = Budget::embedding(&model(Limits::default()), &EmbedOptions::default());
        assert_eq!(sizes(&budget, &texts(0, 1)), [0; 0]);
        assert_eq!(sizes(&budget, &texts(1_000, 1)), [1_000]);
        assert_eq!(sizes(&budget, &texts(2_001, 1)), [1_000, 1_000, 1]);
    }

    #[test]
    fn an_answer_holds_vectors_of_the_size_asked_for() {
        let limits = Limits { max_response_bytes: 1_024 + 10 * 3_120, ..Limits::default() };
        let full = Budget::embedding(&model(limits), &EmbedOptions::default());
        assert_eq!(sizes(&full, &texts(25, 1)), [10, 10, 5]);
        let small = EmbedOptions { output_dimensionality: 16, ..EmbedOptions::default() };
        let small = Budget::embedding(&model(limits), &small);
        assert_eq!(sizes(&small, &texts(61, 1)), [60, 1]);
    }

    #[test]
    fn tokens_are_bytes_of_text_and_prompt_within_the_window() {
        let limits = Limits { max_queue_tokens: 200, ..Limits::default() };
        let mut model = model(limits);
        model.prompts.insert("query".to_owned(), "p".repeat(20));
        // A text of 12 bytes is a message of 14, and 8 and 20 with it.
        let budget = Budget::embedding(&model, &EmbedOptions::default());
        assert_eq!(sizes(&budget, &texts(9, 12)), [4, 4, 1]);
        assert_eq!(sizes(&budget, &texts(5, 5_000)), [2, 2, 1]);
        let prompt = Some(Prompt::PromptText("p".repeat(60)));
        let own = EmbedOptions { prompt, ..EmbedOptions::default() };
        assert_eq!(sizes(&Budget::embedding(&model, &own), &texts(5, 12)), [2, 2, 1]);
        let similarity = Budget::similarity(&model, &[&EmbedOptions::default()]);
        assert_eq!(sizes(&similarity, &texts(5, 12)), [2, 2, 1]);
    }

    #[test]
    fn a_text_over_the_bytes_is_named() {
        let budget = Budget::embedding(&model(Limits::default()), &EmbedOptions::default());
        let mut inputs = texts(3, 1);
        inputs.extend(texts(1, 1 << 24));
        let error = budget.split(&inputs).unwrap_err();
        assert_eq!((error.reason(), error.index()), ("TEXT_TOO_LONG", Some(3)));
    }

    #[test]
    fn a_server_without_room_for_one_gets_one() {
        let limits = Limits { max_queue_tokens: 1, max_response_bytes: 1, ..Limits::default() };
        let budget = Budget::similarity(&model(limits), &[&EmbedOptions::default()]);
        assert_eq!(sizes(&budget, &texts(3, 9)), [1, 1, 1]);
    }
}
