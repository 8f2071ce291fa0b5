//! Backbones on the Hugging Face Hub, by the name of a repository: fetched into the cache that Python's tools share, and
//! opened there as any folder is.

use crate::Result;
use crate::model::weights::Weights;

impl Weights {
    /// Reads a backbone from the Hub: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION` for a branch, tag or commit. What the
    /// cache holds is not asked for again; where `HF_HUB_OFFLINE` is set, nothing is.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where it cannot be had, [`Error::Io`](crate::Error::Io); in a browser
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    pub fn from_hub(name: &str) -> Result<Self> {
        #[cfg(not(target_arch = "wasm32"))]
        return Self::open(&native::folder(name)?);
        #[cfg(target_arch = "wasm32")]
        Err(crate::Error::Unsupported(format!(
            "weights {name}: a browser has no cache of the Hub; parse the file's bytes"
        )))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use hf_hub::api::sync::{ApiBuilder, ApiError};
    use hf_hub::{Cache, Repo, RepoType};
    use serde_json::Value;

    use crate::model::checkpoint::NAMES;
    use crate::{Error, Result, host};

    const CONFIG: &str = "config.json";
    /// Endings of files of weights, to tell what a repository has instead.
    const ENDINGS: [&str; 7] = [".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".safetensors"];
    /// What switches something on.
    const ON: [&str; 4] = ["1", "on", "yes", "true"];

    /// A variable of the environment that is not empty.
    fn set(name: &str) -> Option<String> {
        host::variable(name).filter(|text| !text.is_empty())
    }

    /// The folder in the cache with the files of `name`, fetched if they are not there.
    pub(super) fn folder(name: &str) -> Result<PathBuf> {
        let fail = |message: String| Error::Weights { file: name.into(), message };
        let malformed = "no name on the Hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION";
        let (id, revision) = parts(name).ok_or_else(|| fail(malformed.into()))?;
        let (cache, token) = places().ok_or_else(|| fail("no home directory for the cache; set HF_HOME".into()))?;
        let repo = |revision: &str| Repo::with_revision(id.into(), RepoType::Model, revision.into());
        let (cached, root) = (cache.repo(repo(revision)), cache.path().join(repo(revision).folder_name()));
        let snapshot = |commit: &str| root.join("snapshots").join(commit);
        // By its reference, as of a branch, or as a commit, to which other tools keep none.
        let commit = |file: &str| Some(snapshot(revision).join(file)).filter(|path| path.is_file());
        let kept = NAMES.into_iter().find_map(|file| cached.get(file).or_else(|| commit(file)));
        let kept = kept.and_then(|file| whole(&file));
        let offline = set("HF_HUB_OFFLINE").is_some_and(|on| ON.contains(&on.to_ascii_lowercase().as_str()));
        match kept {
            // Whether there is a config.json that is not in the cache, only the server knows.
            Some(folder) if offline || folder.join(CONFIG).is_file() => return Ok(folder),
            _ if offline => {
                let place = cache.path().display();
                let way_out = "fetch it once without HF_HUB_OFFLINE";
                return Err(fail(format!("it is not, or not whole, in the cache, {place}; {way_out}")));
            }
            _ => {}
        }

        let trouble = |e: ApiError| fail(told(&e, &root));
        let mut builder = ApiBuilder::from_cache(cache).with_token(token).with_progress(false);
        if let Some(endpoint) = set("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
        }
        let api = builder.build().map_err(trouble)?;
        let info = api.repo(repo(revision)).info().map_err(trouble)?;
        if info.sha.len() != 40 || !info.sha.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(fail("the server names no commit of it; check HF_ENDPOINT".into()));
        }
        let files = || info.siblings.iter().map(|sibling| sibling.rfilename.as_str());
        let has = |file: &str| files().any(|other| other == file);
        let Some(first) = NAMES.into_iter().find(|file| has(file)) else {
            let weights = files().filter(|file| ENDINGS.iter().any(|&ending| file.ends_with(ending)));
            let others = weights.take(3).collect::<Vec<_>>().join(", ");
            let but = if others.is_empty() { others } else { format!(", but {others}") };
            let [file, index] = NAMES;
            return Err(fail(format!("neither {file} nor {index} is in it{but}; take a repository with safetensors")));
        };
        // All of one commit, whatever is pushed meanwhile; the reference is set once it is whole.
        let (pinned, folder) = (api.repo(repo(&info.sha)), snapshot(&info.sha));
        let fetch = |file: &str| match folder.join(file).is_file() {
            true => Ok(()),
            false => pinned.download(file).map(drop).map_err(trouble),
        };
        if has(CONFIG) {
            fetch(CONFIG)?;
        }
        fetch(first)?;
        for shard in shards(&folder.join(first)) {
            if !has(&shard) {
                return Err(fail(format!("its {first} names `{shard}`, which is not in it; take another revision")));
            }
            fetch(&shard)?;
        }
        cached.create_ref(&info.sha).map_err(|e| Error::io("writing a reference below", &root, &e))?;
        Ok(folder)
    }

    /// Repository and revision; nothing that could lead out of the cache.
    fn parts(name: &str) -> Option<(&str, &str)> {
        let name = name.strip_prefix("hf:")?;
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        let (owner, model) = id.split_once('/')?;
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        (plain(owner) && plain(model) && revision.split('/').all(plain)).then_some((id, revision))
    }

    /// The cache and the token, where Python's tools have them.
    fn places() -> Option<(Cache, Option<String>)> {
        let home: PathBuf = match set("HF_HOME") {
            Some(home) => home.into(),
            None => host::xdg_cache_dir()?.join("huggingface"),
        };
        let usual = Cache::new(home.join("hub"));
        // The file of the token stays beside the usual cache, wherever this one is.
        let token = set("HF_TOKEN").or_else(|| usual.token()).map(|token| token.trim().to_string());
        Some((set("HF_HUB_CACHE").map_or(usual, |path| Cache::new(path.into())), token))
    }

    /// The folder of weights in the cache, if no shard is missing.
    fn whole(file: &Path) -> Option<PathBuf> {
        let folder = file.parent()?;
        shards(file).iter().all(|shard| folder.join(shard).is_file()).then(|| folder.into())
    }

    /// The files that an index names; what is wrong with it is told where it is opened.
    fn shards(file: &Path) -> BTreeSet<String> {
        let index = file.extension().is_some_and(|ending| ending == "json");
        let text = if index { std::fs::read(file).unwrap_or_default() } else { Vec::new() };
        let content: Value = serde_json::from_slice(&text).unwrap_or_default();
        let names =
            content["weight_map"].as_object().into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
        // A name that leads elsewhere is none.
        names.filter(|name| Path::new(name).file_name() == Some(name.as_ref())).map(String::from).collect()
    }

    fn told(error: &ApiError, root: &Path) -> String {
        match error {
            ApiError::RequestError(e) => match **e {
                ureq::Error::Status(401 | 403 | 404, _) => {
                    "not found, or not for everybody: check the name, ask for access on its page, set HF_TOKEN".into()
                }
                ureq::Error::Status(416, _) => {
                    format!("a download that broke off lies below {}; delete it", root.display())
                }
                ureq::Error::Status(code, _) => format!("the server answers with status {code}; try again later"),
                // Its text would show the token.
                ureq::Error::Transport(ref e) if e.kind() == ureq::ErrorKind::BadHeader => {
                    "the token is none; check HF_TOKEN".into()
                }
                ureq::Error::Transport(ref e) => {
                    format!("no answer ({e}); check the network, or use what the cache holds by HF_HUB_OFFLINE=1")
                }
            },
            e => format!("fetching broke off ({e}); try again, if need be after deleting {}", root.display()),
        }
    }
}
