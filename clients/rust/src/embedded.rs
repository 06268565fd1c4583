//! An answer of a stream.

use crate::error::Error;
use crate::vector::Vector;

/// The answer to one text of a stream.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The place of the text among those of the call, from 0.
    pub index: usize,
    /// The vector, or why this text has none; the others are not affected.
    pub vector: Result<Vector, Error>,
}
