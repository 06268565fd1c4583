//! What a caller got, and what it must get.

use std::collections::BTreeSet;

use gemwire::{Embedded, Error, ErrorKind, Model, Vector};
use serde_json::{Value, json};

use crate::case::Outcome;

/// What a caller got.
#[derive(Default)]
pub struct Answer {
    pub results: Vec<Embedded>,
    pub error: Option<Error>,
    pub read_ahead: usize,
    vectors: Option<Vec<Vector>>,
    scores: Option<Vec<f32>>,
    plain: Value,
}

impl Answer {
    pub fn vectors(vectors: Vec<Vector>) -> Self {
        Self { vectors: Some(vectors), ..Self::default() }
    }

    pub fn scores(scores: Vec<f32>) -> Self {
        Self { scores: Some(scores), ..Self::default() }
    }

    pub fn ids(ids: Vec<u32>) -> Self {
        Self { plain: json!(ids), ..Self::default() }
    }

    pub fn text(text: String) -> Self {
        Self { plain: json!(text), ..Self::default() }
    }

    pub fn error(error: Error) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    pub fn model(model: &Model) -> Self {
        let limits = model.limits.as_ref().expect("limits");
        let plain = json!({
            "name": model.name, "revision": model.revision, "dtype": model.dtype,
            "dimensions": model.dimensions, "supported_dimensions": model.supported_dimensions,
            "default_dimensions": model.default_dimensions, "prompts": model.prompts,
            "max_input_tokens": model.max_input_tokens, "vocabulary_size": model.vocabulary_size,
            "server_version": model.server_version, "engine": model.engine,
            "max_inputs_per_request": limits.max_inputs_per_request,
            "max_request_bytes": limits.max_request_bytes,
            "max_batch_tokens": limits.max_batch_tokens,
            "max_queue_tokens": limits.max_queue_tokens,
            "max_stream_inflight_inputs": limits.max_stream_inflight_inputs,
            "max_response_bytes": limits.max_response_bytes,
        });
        Self { plain, ..Self::default() }
    }
}

/// `expect` of a case, with the reference in its place.
pub struct Expected<'a>(pub &'a Value);

impl Expected<'_> {
    pub fn check(&self, answer: &Answer) -> Outcome {
        let expected = self.0.as_object().expect("an object");
        match (&answer.error, expected.get("error")) {
            (None, None) => {}
            (Some(error), Some(wanted)) => check_error(error, wanted)?,
            (Some(error), None) => return Err(format!("failed: {error:?}")),
            (None, Some(_)) => return Err("did not fail".to_owned()),
        }
        for (key, wanted) in expected {
            match key.as_str() {
                "error" => {}
                "vectors" => check_vectors(answer.vectors.as_deref(), wanted)?,
                "lengths" => {
                    let vectors = answer.vectors.iter().flatten();
                    let lengths: Vec<usize> = vectors.map(|v| numbers(v).len()).collect();
                    same("lengths", &json!(lengths), wanted)?;
                }
                "scores" => check_scores(answer, wanted)?,
                "ids" | "text" => same(key, &answer.plain, wanted)?,
                "model" => {
                    for (property, wanted) in wanted.as_object().expect("properties") {
                        same(property, &answer.plain[property], wanted)?;
                    }
                }
                "results" => check_results(&answer.results, wanted)?,
                "count" => check_count(&answer.results, wanted)?,
                "read_ahead" if answer.read_ahead as u64 > wanted.as_u64().expect("a number") => {
                    return Err(format!("read {} texts ahead", answer.read_ahead));
                }
                "read_ahead" => {}
                "reference" if answer.vectors.is_some() => {
                    check_vectors(answer.vectors.as_deref(), wanted)?;
                }
                "reference" if answer.scores.is_some() => check_scores(answer, wanted)?,
                "reference" if !answer.plain.is_null() => same(key, &answer.plain, wanted)?,
                "reference" => {
                    let vectors: Result<Vec<Vector>, Error> =
                        answer.results.iter().map(|result| result.vector.clone()).collect();
                    let vectors = vectors.map_err(|error| format!("a text failed: {error:?}"))?;
                    check_vectors(Some(&vectors), wanted)?;
                }
                other => panic!("this runner does not know {other}"),
            }
        }
        Ok(())
    }
}

fn check_error(error: &Error, wanted: &Value) -> Outcome {
    for (key, wanted) in wanted.as_object().expect("an error") {
        let found = match key.as_str() {
            "type" => json!(type_of(error)),
            "code" => json!(code_of(error)),
            "message" => json!(error.message()),
            "reason" => json!(error.reason()),
            "metadata" => json!(error.metadata()),
            "fields" => json!(error.fields()),
            "retry_after" => json!(error.retry_after().map(|delay| delay.as_secs_f64())),
            "index" => json!(error.index()),
            "errors" => json!(error.errors().keys().collect::<Vec<_>>()),
            other => panic!("this runner does not know {other} of an error"),
        };
        let equal = match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => found == *wanted,
        };
        if !equal {
            return Err(format!("{key} of the error is {found}, not {wanted}: {error:?}"));
        }
    }
    Ok(())
}

fn type_of(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidInput => "InvalidInput",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::Overloaded => "Overloaded",
        ErrorKind::DeadlineExceeded => "DeadlineExceeded",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::AccessDenied => "AccessDenied",
        ErrorKind::EngineFailure => "EngineFailure",
        _ => "",
    }
}

/// The code's name: `InvalidArgument` → `INVALID_ARGUMENT`.
fn code_of(error: &Error) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", error.code()).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn check_results(results: &[Embedded], wanted: &Value) -> Outcome {
    let wanted = wanted.as_array().expect("results");
    let found: Vec<usize> = results.iter().map(|result| result.index).collect();
    let indices: Vec<&Value> = wanted.iter().map(|wanted| &wanted["index"]).collect();
    same("indices", &json!(found), &json!(indices))?;
    for (result, wanted) in results.iter().zip(wanted) {
        match &result.vector {
            Ok(vector) => {
                check_vectors(Some(std::slice::from_ref(vector)), &json!([wanted["vector"]]))?
            }
            Err(error) if wanted.get("error").is_some() => check_error(error, &wanted["error"])?,
            Err(error) => return Err(format!("a text failed: {error:?}")),
        }
    }
    Ok(())
}

/// So many results, each once, with [index, 1].
fn check_count(results: &[Embedded], wanted: &Value) -> Outcome {
    same("count", &json!(results.len()), wanted)?;
    let indices: BTreeSet<usize> = results.iter().map(|result| result.index).collect();
    if !indices.iter().copied().eq(0..results.len()) {
        return Err(format!("the indices are {indices:?}"));
    }
    for result in results {
        match &result.vector {
            Ok(Vector::Float(values)) if values[..] == [result.index as f32, 1.0] => {}
            other => return Err(format!("text {} has {other:?}", result.index)),
        }
    }
    Ok(())
}

fn check_scores(answer: &Answer, wanted: &Value) -> Outcome {
    let scores = answer.scores.clone().map(Vector::Float);
    check_vectors(scores.as_ref().map(std::slice::from_ref), &json!([wanted]))
}

/// Compares to the bit, so that -0 differs from 0.
fn check_vectors(found: Option<&[Vector]>, wanted: &Value) -> Outcome {
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let found: Vec<Vec<u32>> = found.into_iter().flatten().map(|v| bits(&numbers(v))).collect();
    let wanted: Vec<Vec<u32>> = wanted
        .as_array()
        .expect("vectors")
        .iter()
        .map(|vector| vector.as_array().expect("a vector").iter())
        .map(|vector| vector.map(|x| x.as_f64().expect("a number") as f32).collect::<Vec<_>>())
        .map(|vector| bits(&vector))
        .collect();
    if found == wanted {
        return Ok(());
    }
    let place = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
    Err(format!("{} vectors of {}; the first that differs is {place:?}", found.len(), wanted.len()))
}

fn numbers(vector: &Vector) -> Vec<f32> {
    match vector {
        Vector::Float(values) => values.clone(),
        Vector::Signed(values) => values.iter().map(|&x| f32::from(x)).collect(),
        Vector::Unsigned(values) => values.iter().map(|&x| f32::from(x)).collect(),
    }
}

fn same(what: &str, found: &Value, wanted: &Value) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found}, not {wanted}")) }
}
