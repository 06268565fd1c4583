//! The servers, and clients of them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use gemwire::{Client, Error, Tls};
use libtest_mimic::Trial;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::case::{Case, Outcome};

/// The content of the file of CONFORMANCE.
pub struct Servers {
    content: Value,
    run: AtomicU64,
    /// Held by a case that fills a server's queue, for as long as it runs.
    pub queue: Mutex<()>,
}

impl Servers {
    pub fn read(file: &OsStr) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        let run = AtomicU64::new(u64::try_from(now.as_micros()).expect("a clock before 500000"));
        Self { content: json(Path::new(file)), run, queue: Mutex::new(()) }
    }

    /// A test for each case.
    pub fn trials(self: &Arc<Self>, runtime: &Arc<Runtime>) -> Vec<Trial> {
        let folder = PathBuf::from(self.content["cases"].as_str().expect("a folder"));
        let files = fs::read_dir(folder).expect("the folder of the cases");
        let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        let mut trials = Vec::new();
        for file in files {
            let kind = file.file_stem().expect("a name").to_string_lossy().into_owned();
            for case in json(&file)["cases"].as_array().expect("a list of cases") {
                let case = Case(case.clone());
                let (servers, runtime) = (Arc::clone(self), Arc::clone(runtime));
                let name = case.name().to_owned();
                let run = move || runtime.block_on(case.run(&servers)).map_err(Into::into);
                trials.push(Trial::test(name, run).with_kind(kind.clone()));
            }
        }
        assert!(!trials.is_empty(), "there are no cases");
        trials
    }

    pub fn address(&self, server: &str) -> &str {
        let address = self.content["servers"][server]["address"].as_str();
        address.unwrap_or_else(|| panic!("there is no server {server}"))
    }

    /// What the generated stubs alone got for this case.
    pub fn reference(&self, name: &str) -> &Value {
        &self.content["reference"][name]
    }

    /// Letters and digits that no other run has.
    pub fn run_id(&self) -> String {
        format!("{}", self.run.fetch_add(1, Ordering::Relaxed))
    }

    pub fn client(
        &self,
        server: &str,
        token: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Client, Error> {
        let files = &self.content["servers"][server];
        let pem = |key: &str| files[key].as_str().map(|file| fs::read(file).expect("a PEM file"));
        let mut builder = Client::builder(self.address(server)).timeout(timeout);
        if let Some(token) = token {
            builder = builder.token(token);
        }
        if let Some(ca) = pem("ca") {
            let mut tls = Tls::ca(ca);
            if let (Some(certificate), Some(key)) = (pem("cert"), pem("key")) {
                tls = tls.identity(certificate, key);
            }
            builder = builder.tls(tls);
        }
        builder.build()
    }

    /// Whether the scripted server saw what it should.
    pub async fn verdict(&self, of: &str) -> Outcome {
        let token = format!("verdict.{of}");
        let client = self.client("scripted", Some(&token), Some(Duration::from_secs(20)));
        let client = client.map_err(|error| error.to_string())?;
        match client.model().await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the server saw: {}", error.message())),
        }
    }
}

fn json(file: &Path) -> Value {
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
