//! One case: what to call, and what the caller must get.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::answer::{Answer, Expected};
use crate::call::Call;
use crate::servers::Servers;

/// What is wrong, in words.
pub type Outcome = Result<(), String>;

const TIMEOUT: f64 = 20.0;

pub struct Case(pub Value);

impl Case {
    pub fn name(&self) -> &str {
        self.0["name"].as_str().expect("a name")
    }

    pub async fn run(&self, servers: &Servers) -> Outcome {
        let server = self.0["server"].as_str().unwrap_or("scripted");
        let _alone = match server {
            "small_queue" => Some(servers.queue.lock().await),
            _ => None,
        };
        let scripted = server == "scripted";
        let id = format!("{}.{}", self.name(), servers.run_id());
        let token = if scripted { Some(&*id) } else { self.0["token"].as_str() };
        let client = servers.client(server, token, self.timeout());
        let client = client.map_err(|error| error.to_string())?;

        // Every future of the library must be `Send`, so that a task can run it.
        let mut calls = JoinSet::new();
        for _ in 0..self.0["call"]["calls"].as_u64().unwrap_or(1) {
            let call = Call(self.0["call"].clone());
            calls.spawn(call.make(client.clone()));
        }
        let answers: Vec<Answer> = calls.join_all().await;
        let verdict = if scripted { servers.verdict(&id).await } else { Ok(()) };
        drop(client);

        let mut expected = self.0["expect"].clone();
        if let Some(name) = expected["reference"].as_str() {
            expected["reference"] = servers.reference(name).clone();
        }
        for answer in answers {
            let said = verdict.as_ref().err().cloned().unwrap_or_default();
            Expected(&expected).check(&answer).map_err(|wrong| format!("{wrong} {said}"))?;
        }
        verdict
    }

    fn timeout(&self) -> Option<Duration> {
        match self.0.get("timeout") {
            Some(timeout) => timeout.as_f64().map(Duration::from_secs_f64),
            None => Some(Duration::from_secs_f64(TIMEOUT)),
        }
    }
}
