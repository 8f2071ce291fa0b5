//! Folders of image files: `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*` alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Files;
use super::{Images, Parts};
use crate::{Error, Result};

/// Names of image files end in one of these.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];
/// Folders within the folder of a class at most.
const MAX_DEPTH: usize = 8;
/// Names of the folder of test images, the first that exists.
const TEST: [&str; 2] = ["test", "val"];

/// Reads `dir/train` and `dir/test` (or `dir/val`), or, where there is no `dir/train`, `dir` alone without test images. A
/// class is a folder, in the order of the bytes of their names.
///
/// # Errors
/// [`Error::Data`] where the two do not list the same classes, or a class holds no image; [`Error::Io`].
pub(super) fn read(dir: &Path) -> Result<Parts> {
    let train = dir.join("train");
    if !train.is_dir() {
        let (classes, train) = split(dir)?;
        return Ok(Parts { classes, train, test: None });
    }
    let test = TEST.map(|name| dir.join(name)).into_iter().find(|path| path.is_dir());
    let test = test.ok_or_else(|| bad(dir, "it has a folder `train` but no `test` (or `val`)".into()))?;
    let (classes, train) = split(&train)?;
    let (others, images) = split(&test)?;
    if let Some(difference) = difference(&classes, &others) {
        return Err(bad(&test, difference));
    }
    Ok(Parts { classes, train, test: Some(images) })
}

/// How two sorted lists of classes differ.
fn difference(train: &[String], test: &[String]) -> Option<String> {
    let beyond = |a: &[String], b: &[String]| {
        let extra: Vec<_> = a.iter().filter(|name| b.binary_search(name).is_err()).collect();
        let shown: Vec<_> = extra.iter().take(5).map(|name| format!("`{name}`")).collect();
        let more = if extra.len() > 5 { format!(" and {} more", extra.len() - 5) } else { String::new() };
        (!extra.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
    };
    let (missing, extra) = (beyond(train, test), beyond(test, train));
    let told = [("lacks", missing), ("has", extra)].into_iter().filter_map(|(verb, s)| Some(format!("{verb} {}", s?)));
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then(|| format!("its classes must be those of the training images, but it {told}"))
}

/// The classes below `dir`, and all their images.
fn split(dir: &Path) -> Result<(Vec<String>, Images)> {
    let mut classes = Vec::new();
    for path in entries(dir)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            classes.push((name, path));
        }
    }
    classes.sort();
    if classes.is_empty() {
        return Err(bad(
            dir,
            "no data set is recognised: CIFAR (binary or python), IDX files, or one folder of images a class".into(),
        ));
    }
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (label, (name, path)) in classes.iter().enumerate() {
        let start = files.len();
        images_below(path, 0, &mut files)?;
        if files.len() == start {
            return Err(bad(path, format!("class `{name}` has no image; names end in .{}", EXTENSIONS.join(", ."))));
        }
        files[start..].sort();
        labels.resize(files.len(), label as u32);
    }
    Ok((classes.into_iter().map(|(name, _)| name).collect(), Images::new(Arc::new(Files(files)), labels)))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::io("read", dir, &e);
    std::fs::read_dir(dir).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn images_below(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(dir)? {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                images_below(&path, depth + 1, files)?;
            }
        } else if EXTENSIONS.contains(&extension.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

fn bad(path: &Path, message: String) -> Error {
    Error::Data { file: path.display().to_string(), message }
}

#[cfg(test)]
mod tests {
    use crate::data::tests::golden;
    use crate::data::{Dataset, Settings, check, load};
    use crate::{Error, Result};

    /// Folders with a PNG at every path.
    fn folders(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, golden("png-rgb.file").1).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, settings: Settings) -> Result<Dataset> {
        load(dir.path().to_str().unwrap(), &settings)
    }

    fn refused(dir: &tempfile::TempDir, words: &[&str]) {
        let text = read(dir, Settings::default()).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn classes_are_folders_in_order() {
        let dir = folders(&[
            "train/b/2.PNG",
            "train/b/sub/1.png",
            "train/a/x.png",
            "train/a/notes.txt",
            "val/b/y.png",
            "val/a/z.png",
        ]);
        let data = read(&dir, Settings::default()).unwrap();
        assert_eq!(
            (data.classes.as_slice(), data.train.labels.as_slice()),
            (&["a", "b"].map(String::from)[..], &[0, 1, 1][..])
        );
        assert!(data.train.name(2).ends_with("1.png") && data.test.len() == 2);
        let alone = folders(&["b/1.png", "b/2.png", "a/1.png", "a/2.png"]);
        refused(&alone, &["`test_share` must be above 0"]);
        let data = read(&alone, Settings { test_share: 0.5, ..Settings::default() }).unwrap();
        assert_eq!((data.train.labels, data.test.labels), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn lists_of_classes_must_agree() {
        refused(
            &folders(&["train/a/1.png", "train/c/1.png", "test/a/1.png", "test/b/1.png"]),
            &["lacks `c`", "has `b`"],
        );
        refused(&folders(&["train/a/1.png"]), &["no `test`"]);
        refused(&folders(&["train/a/1.png", "test/a/1.gif"]), &["class `a` has no image"]);
        refused(&folders(&["readme.md"]), &["no data set is recognised"]);
    }

    #[test]
    fn damaged_images_are_named_or_left_out() {
        let dir = folders(&["train/a/1.png", "train/a/2.png", "test/a/3.png"]);
        std::fs::write(dir.path().join("train/a/1.png"), &golden("png-rgb.file").1[..80]).unwrap();
        std::fs::write(dir.path().join("train/a/4.jpg"), golden("jpeg-grey.file").1).unwrap();
        let data = read(&dir, Settings::default()).unwrap();
        assert!(matches!(data.train.picture(0), Err(Error::Data { file, .. }) if file.ends_with("1.png")));
        let data = read(&dir, Settings { skip_bad: true, ..Settings::default() }).unwrap();
        assert_eq!((data.train.len(), data.bad.len()), (2, 1));
        let report = check(dir.path().to_str().unwrap(), &|| ()).unwrap();
        assert!(report.unreadable.len() == 1 && report.unreadable[0].image.ends_with("1.png"));
        assert_eq!((report.train, report.test, report.grey, report.sizes.len()), (3, Some(1), 1, 1));
        let duplicates = report.duplicates;
        assert_eq!((duplicates.across.len(), duplicates.train, duplicates.test, duplicates.other_class), (1, 0, 0, 0));
        assert!(duplicates.across[0].0.ends_with("3.png") && duplicates.across[0].1.ends_with("2.png"));
    }
}
