//! Makes the call of a case.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gemwire::{Client, Error, Options, TaskType, Text, Truncation, Vector, VectorEncoding};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt};

use crate::answer::Answer;

/// `call` of a case.
pub struct Call(pub Value);

impl Call {
    pub async fn make(self, client: Client) -> Answer {
        let result = match self.0["method"].as_str().expect("a method") {
            "embed_stream" => return self.stream(&client).await,
            "embed_query" => {
                let vector = client.embed_query(self.text("text"), self.dimensions()).await;
                vector.map(|vector| Answer::vectors(vec![Vector::Float(vector)]))
            }
            "embed_documents" => {
                let vectors = client.embed_documents(self.titled(), self.dimensions()).await;
                vectors.map(|all| Answer::vectors(all.into_iter().map(Vector::Float).collect()))
            }
            "embed" => {
                client.embed(self.texts("texts"), &self.options()).await.map(Answer::vectors)
            }
            "similarity" => self.similarity(&client).await.map(Answer::scores),
            "tokenize" => {
                client.tokenize(self.text("text"), &self.options()).await.map(Answer::ids)
            }
            "detokenize" => {
                let keep = self.0["keep_special_tokens"].as_bool().unwrap_or(false);
                client.detokenize(ids(&self.0["ids"]), keep).await.map(Answer::text)
            }
            "model" => client.model().await.map(Answer::model),
            other => panic!("there is no method {other}"),
        };
        result.unwrap_or_else(Answer::error)
    }

    async fn similarity(&self, client: &Client) -> Result<Vec<f32>, Error> {
        let options = |task: &str| {
            let options = Options::new().dimensions(self.dimensions().unwrap_or(0));
            match self.0[task].as_str() {
                Some(word) => options.task(task_type(word)),
                None => options,
            }
        };
        let target = self.0["target_task"].as_str().map(|_| options("target_task"));
        let targets = self.texts("targets");
        client.similarity(self.text("source"), targets, &options("task"), target.as_ref()).await
    }

    async fn stream(&self, client: &Client) -> Answer {
        let taken = Arc::new(AtomicUsize::new(0));
        let handed = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let counters = (Arc::clone(&taken), Arc::clone(&handed), Arc::clone(&most));
        let texts = self.texts("texts").into_iter().inspect(move |_| {
            let (taken, handed, most) = &counters;
            let ahead = taken.fetch_add(1, Ordering::Relaxed) + 1 - handed.load(Ordering::Relaxed);
            most.fetch_max(ahead, Ordering::Relaxed);
        });
        let texts = tokio_stream::iter(texts);
        let results: Box<dyn Stream<Item = _> + Send + Unpin> =
            if self.0["ordered"].as_bool().unwrap_or(true) {
                Box::new(client.embed_stream(texts, &self.options()))
            } else {
                Box::new(client.embed_stream_unordered(texts, &self.options()))
            };
        let stop = self.0["stop_after"].as_u64().map_or(usize::MAX, |stop| stop as usize);
        let mut results = results.take(stop);
        let mut answer = Answer::default();
        while let Some(result) = results.next().await {
            match result {
                Ok(embedded) => {
                    answer.results.push(embedded);
                    handed.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => answer.error = Some(error),
            }
        }
        answer.read_ahead = most.load(Ordering::Relaxed);
        answer
    }

    fn text(&self, key: &str) -> Text {
        text(&self.0[key])
    }

    fn texts(&self, key: &str) -> Vec<Text> {
        match &self.0[key] {
            Value::Array(texts) => texts.iter().map(text).collect(),
            count => {
                let count = count["count"].as_u64().expect("a count");
                (0..count).map(|i| Text::from(format!("text {i}"))).collect()
            }
        }
    }

    fn titled(&self) -> Vec<Text> {
        let Some(titles) = self.0["titles"].as_array() else {
            return self.texts("texts");
        };
        let texts = self.0["texts"].as_array().expect("texts");
        let word = |value: &Value| value.as_str().expect("a string").to_owned();
        texts.iter().zip(titles).map(|(t, title)| Text::with_title(word(t), word(title))).collect()
    }

    fn dimensions(&self) -> Option<u32> {
        self.0["dimensions"].as_u64().map(|size| u32::try_from(size).expect("a size"))
    }

    fn options(&self) -> Options {
        let mut options = Options::new();
        for (key, value) in self.0["options"].as_object().into_iter().flatten() {
            let word = || value.as_str().expect("a word");
            let upper = || word().to_uppercase();
            let number = || value.as_i64().expect("a number");
            options = match key.as_str() {
                "task" => options.task(task_type(word())),
                "prompt_name" => options.prompt_name(word()),
                "prompt" => options.prompt(word()),
                "dimensions" => options.dimensions(u32::try_from(number()).expect("a size")),
                "normalize" => options.normalize(value.as_bool().expect("a bool")),
                "truncation" => {
                    let name = format!("TRUNCATION_{}", upper());
                    options.truncation(Truncation::from_str_name(&name).expect("a truncation"))
                }
                "encoding" => {
                    let name = format!("VECTOR_ENCODING_{}", upper());
                    options.encoding(VectorEncoding::from_str_name(&name).expect("an encoding"))
                }
                "priority" => options.priority(i32::try_from(number()).expect("a priority")),
                other => panic!("there is no option {other}"),
            };
        }
        options
    }
}

fn task_type(word: &str) -> TaskType {
    let name = format!("TASK_TYPE_{}", word.to_uppercase());
    TaskType::from_str_name(&name).unwrap_or_else(|| panic!("there is no task {word}"))
}

fn text(value: &Value) -> Text {
    if let Some(text) = value.as_str() {
        return Text::from(text);
    }
    if let Some(bytes) = value["bytes"].as_u64() {
        return Text::from("a".repeat(bytes as usize));
    }
    if value["ids"].is_array() {
        return Text::from(ids(&value["ids"]));
    }
    let word = |key: &str| value[key].as_str().unwrap_or_default();
    Text::with_title(word("text"), word("title"))
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("ids").iter();
    ids.map(|id| u32::try_from(id.as_u64().expect("an id")).expect("an id of 32 bits")).collect()
}
