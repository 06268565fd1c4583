//! Token ids of a text, and the text of token ids.

use std::ops::Range;

use crate::client::Client;
use crate::error::Error;
use crate::options::Options;
use crate::text::Text;
use crate::v1::{DetokenizeRequest, TokenizeRequest, TokenizeResponse};

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id in the model's vocabulary.
    pub id: u32,
    /// The bytes of the text in UTF-8 that it stands for; empty for a token of the prompt and a special one.
    pub span: Range<usize>,
}

impl Client {
    /// The token ids that the model gets for a text, prompt and special tokens included.
    pub async fn tokenize(
        &self,
        text: impl Into<Text>,
        options: &Options,
    ) -> Result<Vec<u32>, Error> {
        Ok(self.tokens(text.into(), options, false).await?.ids)
    }

    /// As [`tokenize`](Self::tokenize), with the place of each token in the text. A text that is token ids
    /// has no places, and no tokens here.
    pub async fn token_spans(
        &self,
        text: impl Into<Text>,
        options: &Options,
    ) -> Result<Vec<Token>, Error> {
        let response = self.tokens(text.into(), options, true).await?;
        let spans = response.spans.iter().map(|s| s.start_byte as usize..s.end_byte as usize);
        Ok(response.ids.into_iter().zip(spans).map(|(id, span)| Token { id, span }).collect())
    }

    async fn tokens(
        &self,
        text: Text,
        options: &Options,
        include_spans: bool,
    ) -> Result<TokenizeResponse, Error> {
        let request = TokenizeRequest {
            input: Some(text.0),
            options: Some(options.0.clone()),
            include_spans,
            ..TokenizeRequest::default()
        };
        let method = async |request| self.connection.embedding().tokenize(request).await;
        self.connection.call(self.timeout, request, method).await
    }

    /// The text of token ids. Special tokens are left out unless they are asked for.
    pub async fn detokenize(
        &self,
        ids: impl Into<Vec<u32>>,
        keep_special_tokens: bool,
    ) -> Result<String, Error> {
        let ids = ids.into();
        let request =
            DetokenizeRequest { ids, keep_special_tokens, ..DetokenizeRequest::default() };
        let method = async |request| self.connection.embedding().detokenize(request).await;
        Ok(self.connection.call(self.timeout, request, method).await?.text)
    }
}
