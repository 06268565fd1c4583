//! Collects the answers to the texts of one call, request by request.

use std::collections::BTreeMap;

use tonic::Code;
use tonic_types::pb;

use crate::error::Error;
use crate::v1::{EmbedResult, SimilarityResult, embed_result, similarity_result};
use crate::vector::Vector;

/// An answer to one text, or why there is none.
pub(crate) trait Outcome<T> {
    /// `None`: a kind of outcome that this client does not know.
    fn outcome(self, index: usize) -> Option<Result<T, Error>>;
}

impl Outcome<Vector> for EmbedResult {
    fn outcome(self, index: usize) -> Option<Result<Vector, Error>> {
        Some(match self.outcome? {
            embed_result::Outcome::Embedding(e) => Vector::decode(e).map_err(|e| e.at(index)),
            embed_result::Outcome::Error(status) => failed(&status, index),
        })
    }
}

impl Outcome<f32> for SimilarityResult {
    fn outcome(self, index: usize) -> Option<Result<f32, Error>> {
        Some(match self.outcome? {
            similarity_result::Outcome::Score(score) => Ok(score),
            similarity_result::Outcome::Error(status) => failed(&status, index),
        })
    }
}

fn failed<T>(status: &pb::Status, index: usize) -> Result<T, Error> {
    Err(Error::of_text(status, index))
}

/// The answers so far.
pub(crate) struct Gathered<T> {
    answers: Vec<T>,
    count: usize,
    errors: BTreeMap<usize, Error>,
    revision: Option<String>,
}

impl<T> Gathered<T> {
    pub(crate) fn with_capacity(texts: usize) -> Self {
        Self {
            answers: Vec::with_capacity(texts),
            count: 0,
            errors: BTreeMap::new(),
            revision: None,
        }
    }

    /// Takes the answer to the next `texts` texts. Fails if it cannot belong to them.
    pub(crate) fn place<R: Outcome<T>>(
        &mut self,
        texts: usize,
        revision: String,
        results: Vec<R>,
    ) -> Result<(), Error> {
        if *self.revision.get_or_insert_with(|| revision.clone()) != revision {
            return Err(Error::model_changed());
        }
        if results.len() != texts {
            let message = format!("{} answers to {texts} texts", results.len());
            return Err(Error::new(Code::Unknown, message));
        }
        for result in results {
            let unknown = || Error::new(Code::Unknown, "an answer of a kind that is not known");
            match result.outcome(self.count) {
                Some(Ok(answer)) => self.answers.push(answer),
                Some(Err(error)) => _ = self.errors.insert(self.count, error),
                None => _ = self.errors.insert(self.count, unknown().at(self.count)),
            }
            self.count += 1;
        }
        Ok(())
    }

    /// All answers, or the error of the first text that failed, which has those of all.
    pub(crate) fn finish(self) -> Result<Vec<T>, Error> {
        Error::of_several(self.errors).map_or(Ok(self.answers), Err)
    }
}
