//! Backbones from the Hub: fetched once, then out of the cache; what cannot be had is told in one line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{files, is_refusal, minoise, program, said, sets, write};

/// What timm says of [`tiny`], whose file says nothing.
const CONFIG: &str = r#"{"architecture": "vit_tiny_patch16_224", "model_args": {"num_heads": 2, "img_size": 4},
    "pretrained_cfg": {"mean": [0.1], "std": [0.2], "input_size": [1, 4, 4]}}"#;
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// By their names in lower case.
type Headers = HashMap<String, String>;
/// Status, headers and body.
type Answer = (&'static str, String, Vec<u8>);

struct Repository {
    name: &'static str,
    /// Nobody else sees it.
    token: Option<&'static str>,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Repository {
    fn new(name: &'static str, files: &[(&'static str, &[u8])]) -> Self {
        Self { name, token: None, files: files.iter().map(|&(file, bytes)| (file, bytes.to_vec())).collect() }
    }

    /// As the Hub does it: names of files and their commit, files in pieces, large ones from another address.
    fn answer(&self, commit: &str, path: &str, headers: &Headers) -> Option<Answer> {
        let find = |name: &str| self.files.iter().position(|(file, _)| *file == name);
        if let Some(file) = path.strip_prefix(&format!("/stored/{}/", self.name)) {
            return Some(piece(&self.files[find(file)?].1, String::new(), headers));
        }
        if self.token.is_some_and(|token| headers.get("authorization") != Some(&format!("Bearer {token}"))) {
            return None;
        }
        let known = |revision: &str| revision == "main" || revision == commit;
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{}/revision/", self.name)) {
            let siblings: Vec<Value> = self.files.iter().map(|(file, _)| json!({ "rfilename": file })).collect();
            let body = json!({ "sha": commit, "siblings": siblings }).to_string();
            return known(revision).then(|| ("200 OK", String::new(), body.into_bytes()));
        }
        let (revision, file) = path.strip_prefix(&format!("/{}/resolve/", self.name))?.split_once('/')?;
        let place = find(file).filter(|_| known(revision))?;
        let told = format!("X-Repo-Commit: {commit}\r\nETag: \"{place:064x}\"\r\n");
        if file.ends_with(".safetensors") {
            let location = format!("Location: http://{}/stored/{}/{file}\r\n", headers.get("host")?, self.name);
            return Some(("302 Found", told + &location, Vec::new()));
        }
        Some(piece(&self.files[place].1, told, headers))
    }
}

/// The commit of the repository that stands at this place among those of a [`Hub`].
fn commit(place: usize) -> String {
    format!("{:040x}", place + 1)
}

/// The piece of a file that is asked for; all of it to those who would take it zipped, as the Hub's servers do.
fn piece(content: &[u8], told: String, headers: &Headers) -> Answer {
    let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range.filter(|_| !headers.contains_key("accept-encoding")) else {
        return ("200 OK", told, content.to_vec());
    };
    let first: usize = first.parse().expect("the first byte");
    let end = last.parse().map_or(content.len(), |last: usize| content.len().min(last + 1));
    match content.get(first..end) {
        Some(part) if !part.is_empty() => {
            let range = format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, content.len());
            ("206 Partial Content", told + &range, part.to_vec())
        }
        _ => ("416 Range Not Satisfiable", String::new(), Vec::new()),
    }
}

/// A server of repositories on this machine, until it is dropped.
struct Hub {
    address: SocketAddr,
    /// What was asked for so far.
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    fn start(repositories: Vec<Repository>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (log, ended) = (asked.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // Who goes away before the answer has no use for it.
                let _ = stream.and_then(|stream| serve(&stream, &repositories, &log));
            }
        });
        Self { address, asked, over, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list of requests").clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, repositories: &[Repository], asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let mut headers = Headers::new();
    for line in lines {
        let line = line?;
        let Some((key, value)) = line.split_once(':') else { break };
        headers.insert(key.to_ascii_lowercase(), value.trim().to_string());
    }
    asked.lock().expect("the list of requests").push(path.to_string());
    let mut places = repositories.iter().enumerate();
    let answer = places.find_map(|(place, repository)| repository.answer(&commit(place), path, &headers));
    let (status, told, body) = answer.unwrap_or_else(|| ("404 Not Found", String::new(), Vec::new()));
    let head = format!("HTTP/1.1 {status}\r\n{told}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body[..]].concat())
}

/// The program with a cache of its own, which asks one server.
struct User {
    home: PathBuf,
    endpoint: String,
}

impl User {
    fn of(hub: &Hub, home: &Path) -> Self {
        Self { home: home.to_path_buf(), endpoint: format!("http://{}", hub.address) }
    }

    fn run(&self, offline: bool, args: &[&str]) -> Output {
        let mut command = program(args);
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        if offline {
            command.env("HF_HUB_OFFLINE", "1");
        }
        command.env("HF_HOME", &self.home).env("HF_ENDPOINT", &self.endpoint).output().expect("the program starts")
    }

    fn inspect(&self, offline: bool, name: &str) -> String {
        said(self.run(offline, &["inspect", name, "--json"]))
    }

    fn refused(&self, offline: bool, name: &str, words: &[&str]) {
        let args = ["inspect", name];
        is_refusal(&args, &self.run(offline, &args), &[&["weights", name], words].concat());
    }

    /// A place in the cache of a repository of `acme`.
    fn cached(&self, name: &str, place: &str) -> PathBuf {
        self.home.join("hub").join(format!("models--acme--{name}")).join(place)
    }
}

/// A backbone whose file tells nothing but shapes.
fn tiny() -> files::File {
    let mut file = files::vit();
    file.metadata.clear();
    file
}

/// The same in two files, and their index.
fn shards() -> ([Vec<u8>; 2], Vec<u8>) {
    let mut map = serde_json::Map::new();
    let halves = [true, false].map(|inside| {
        let mut file = tiny();
        file.tensors.retain(|tensor| tensor.name.starts_with("blocks.") == inside);
        let names = file.tensors.iter().map(|tensor| (tensor.name.clone(), json!(SHARDS[usize::from(!inside)])));
        map.extend(names);
        file.bytes()
    });
    (halves, json!({ "metadata": {}, "weight_map": map }).to_string().into_bytes())
}

#[test]
fn a_backbone_is_fetched_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let whole = tiny().bytes();
    write(dir.path(), "model.safetensors", &whole);
    write(dir.path(), "config.json", CONFIG.as_bytes());
    let local = said(minoise(&["inspect", dir.path().to_str().expect("a path"), "--json"]));
    assert!(local.contains("0.1"), "the mean that config.json tells: {local}");

    let ([a, b], index) = shards();
    let config = ("config.json", CONFIG.as_bytes());
    let sharded: [(&str, &[u8]); 4] =
        [config, ("model.safetensors.index.json", &index), (SHARDS[0], &a), (SHARDS[1], &b)];
    let hub = Hub::start(vec![
        Repository::new("acme/tiny", &[config, ("model.safetensors", &whole), ("README.md", b"tiny")]),
        Repository::new("acme/shards", &sharded),
        Repository { token: Some("t0ken"), ..Repository::new("acme/secret", &[config, ("model.safetensors", &whole)]) },
    ]);
    let user = User::of(&hub, &dir.path().join("home"));
    let by_commit = format!("hf:acme/tiny@{}", commit(0));
    let names = ["hf:acme/tiny", "hf:acme/shards", "hf:acme/tiny@main", by_commit.as_str()];
    for name in names {
        assert_eq!(user.inspect(false, name), local, "{name}");
    }
    let asked = hub.asked();
    let times = |path: String| asked.iter().filter(|other| **other == path).count();
    assert_eq!(
        times(format!("/acme/tiny/resolve/{}/config.json", commit(0))),
        2,
        "its size, then all of it: {asked:?}"
    );
    assert_eq!(times("/api/models/acme/tiny/revision/main".into()), 1, "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("README")), "{asked:?}");
    for name in names {
        user.inspect(false, name);
    }
    assert_eq!(hub.asked(), asked, "what is in the cache is not asked for again");

    // For some only, known by the token that lies beside the cache.
    user.refused(false, "hf:acme/secret", &["not found", "HF_TOKEN"]);
    write(&user.home, "token", b"t0ken\n");
    assert_eq!(user.inspect(false, "hf:acme/secret"), local);

    let stranger = User::of(&hub, &dir.path().join("elsewhere"));
    drop(hub);
    for name in names {
        for offline in [false, true] {
            assert_eq!(user.inspect(offline, name), local, "{name}");
        }
    }
    stranger.refused(false, "hf:acme/tiny", &["no answer", "network", "HF_HUB_OFFLINE"]);
    stranger.refused(true, "hf:acme/tiny", &["in the cache", "elsewhere", "HF_HUB_OFFLINE"]);
    std::fs::remove_file(user.cached("shards", "snapshots").join(commit(1)).join(SHARDS[1])).expect("a shard");
    user.refused(true, "hf:acme/shards", &["not whole", "HF_HUB_OFFLINE"]);
}

#[test]
fn what_the_hub_has_not_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ([a, _], index) = shards();
    let (config, index) = (("config.json", CONFIG.as_bytes()), ("model.safetensors.index.json", &index[..]));
    let hub = Hub::start(vec![
        Repository::new("acme/pickle", &[config, ("pytorch_model.bin", b"\x80\x02"), ("vocab.txt", b"")]),
        Repository::new("acme/lost", &[config, index, (SHARDS[0], &a)]),
        Repository::new("acme/cut", &[config, ("model.safetensors", &a[..a.len() / 2])]),
    ]);
    let user = User::of(&hub, &dir.path().join("home"));
    let malformed = [
        "hf:",
        "hf:tiny",
        "hf:/tiny",
        "hf:acme/",
        "hf:acme/tiny/x",
        "hf:../tiny",
        "hf:acme/..",
        "hf:acme/ti ny",
        "hf:acme/tiny@",
        "hf:acme/tiny@../x",
        "hf:acme/tiny@a//b",
        "hf:acme/tiny?x",
    ];
    for name in malformed {
        user.refused(false, name, &["hf:OWNER/NAME", "@REVISION"]);
    }
    assert_eq!(hub.asked(), Vec::<String>::new());
    user.refused(false, "hf:acme/none", &["not found", "check the name"]);
    user.refused(false, "hf:acme/pickle@v9", &["not found"]);
    user.refused(false, "hf:acme/pickle", &["neither model.safetensors", "index.json", "but pytorch_model.bin;"]);
    assert!(!user.home.exists(), "nothing is kept of what cannot be used");
    user.refused(false, "hf:acme/lost", &[SHARDS[1], "not in it"]);
    assert!(user.cached("lost", "snapshots").join(commit(1)).join(SHARDS[0]).is_file());
    assert!(!user.cached("lost", "refs/main").exists(), "a part is not taken for the whole");
    user.refused(true, "hf:acme/lost", &["not whole", "HF_HUB_OFFLINE"]);
    // What is damaged is named where it lies.
    let args = ["inspect", "hf:acme/cut"];
    is_refusal(&args, &user.run(false, &args), &["models--acme--cut", "model.safetensors", "not a safetensors file"]);
}

/// Settings and models keep the name, under which the backbone is found again.
#[test]
fn a_run_keeps_the_name_of_its_backbone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let icons = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/weights/vit-icons.safetensors")).expect("weights");
    let hub = Hub::start(vec![Repository::new("acme/icons", &[("model.safetensors", &icons)])]);
    let user = User::of(&hub, &dir.path().join("home"));
    let out = dir.path().join("out");
    let args = ["run", "--out", out.to_str().expect("a path")];
    said(user.run(false, &[&args[..], &sets(&["weights=hf:acme/icons"])].concat()));
    drop(hub);
    let results = std::fs::read(out.join("results.json")).expect("results.json");
    let results: Value = serde_json::from_slice(&results).expect("JSON");
    assert_eq!(results["config"]["weights"], "hf:acme/icons");
    let eval = ["eval", "--checkpoint", args[2]];
    let judged = said(user.run(true, &eval));
    assert!(judged.contains("of 1732 test images"), "{judged}");
    // The same backbone by another name.
    assert_eq!(said(minoise(&[&eval[..], &["--weights", "icons"]].concat())), judged);
    // That it has no config.json only the server knows.
    is_refusal(&eval, &user.run(false, &eval), &["hf:acme/icons", "network", "HF_HUB_OFFLINE=1"]);
}
