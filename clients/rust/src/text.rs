//! A text to embed.

use std::fmt;

use crate::v1::{EmbedInput, TokenIds, embed_input::Content};

/// A text, a text with its title, or the ids of a text's tokens.
///
/// `&str`, `String`, `&String`, `Vec<u32>` and `&[u32]` turn into one; the last two are token ids of the
/// model's vocabulary, without those of the prompt and without special tokens.
#[derive(Clone, PartialEq)]
pub struct Text(pub(crate) EmbedInput);

impl Text {
    /// A text with a title, for the task [`RetrievalDocument`](crate::TaskType::RetrievalDocument). An
    /// empty title is none.
    pub fn with_title(text: impl Into<String>, title: impl Into<String>) -> Self {
        Self(EmbedInput { content: Some(Content::Text(text.into())), title: title.into() })
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::with_title(text, "")
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<Vec<u32>> for Text {
    fn from(ids: Vec<u32>) -> Self {
        let tokens = TokenIds { ids, complete: false };
        Self(EmbedInput { content: Some(Content::Tokens(tokens)), title: String::new() })
    }
}

impl From<&[u32]> for Text {
    fn from(ids: &[u32]) -> Self {
        Self::from(ids.to_vec())
    }
}

/// Shows the size of the text alone: what is logged must not hold texts.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.content {
            Some(Content::Text(text)) => write!(f, "Text({} bytes)", text.len()),
            Some(Content::Tokens(tokens)) => write!(f, "Text({} tokens)", tokens.ids.len()),
            None => f.write_str("Text()"),
        }
    }
}
