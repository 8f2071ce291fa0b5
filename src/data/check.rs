//! What a user should know of a data set before a long run: classes, counts, sizes, damaged images, duplicates.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Images, Parts, parts};
use crate::Result;

/// The images of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// What the class is called.
    pub name: String,
    /// Training images, the damaged ones among them.
    pub train: usize,
    /// Test images, likewise.
    pub test: usize,
}

/// An image that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// What it is called.
    pub image: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Images of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// How many.
    pub images: usize,
}

/// The same pixels more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Test images that are training images as well: the name of each, and that of the training image.
    pub across: Vec<(String, String)>,
    /// Training images that repeat an earlier one.
    pub train: usize,
    /// Test images that repeat an earlier one.
    pub test: usize,
    /// Images that repeat one of another class.
    pub other_class: usize,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the data set is called.
    pub name: String,
    /// In label order.
    pub classes: Vec<ClassCount>,
    /// Training images.
    pub train: usize,
    /// Test images; none where the data do not tell which are.
    pub test: Option<usize>,
    /// The most frequent first.
    pub sizes: Vec<SizeCount>,
    /// Images without colour.
    pub grey: usize,
    /// Damaged images.
    pub unreadable: Vec<Unreadable>,
    /// Repeated images.
    pub duplicates: Duplicates,
}

/// What one image is like.
struct Seen {
    size: [usize; 2],
    grey: bool,
    hash: [u8; 32],
}

/// Reads every image of the data set that [`load`](super::load) would find; `done` is told of each.
///
/// # Errors
/// Those of [`load`](super::load); damaged images are none.
pub fn check(data: &str, done: &(dyn Fn() + Sync)) -> Result<Report> {
    let (name, Parts { classes, train, test }) = parts(data)?;
    let seen = |images: &Images| -> Vec<Result<Seen>> {
        let one = |i| {
            let seen = images.picture(i).map(|picture| {
                let mut hasher = Sha256::new();
                for size in [picture.height, picture.width, picture.channels] {
                    hasher.update((size as u64).to_le_bytes());
                }
                hasher.update(&picture.pixels);
                let grey = picture.channels == 1;
                Seen { size: [picture.height, picture.width], grey, hash: hasher.finalize().into() }
            });
            done();
            seen
        };
        (0..images.len()).into_par_iter().map(one).collect()
    };
    let splits: Vec<(&Images, Vec<Result<Seen>>)> =
        [Some(&train), test.as_ref()].into_iter().flatten().map(|images| (images, seen(images))).collect();
    let (mut unreadable, mut sizes, mut grey) = (Vec::new(), BTreeMap::<_, usize>::new(), 0);
    for (images, seen) in &splits {
        for (i, seen) in seen.iter().enumerate() {
            match seen {
                Ok(seen) => {
                    *sizes.entry(seen.size).or_default() += 1;
                    grey += usize::from(seen.grey);
                }
                Err(e) => unreadable.push(Unreadable { image: images.name(i), reason: e.to_string() }),
            }
        }
    }
    let mut sizes: Vec<_> =
        sizes.into_iter().map(|([height, width], images)| SizeCount { height, width, images }).collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.images));
    let of = |images: &Images, class: usize| images.labels.iter().filter(|&&y| y as usize == class).count();
    let count = |(class, name): (usize, String)| ClassCount {
        name,
        train: of(&train, class),
        test: test.as_ref().map_or(0, |images| of(images, class)),
    };
    Ok(Report {
        name,
        classes: classes.into_iter().enumerate().map(count).collect(),
        train: train.len(),
        test: test.as_ref().map(Images::len),
        sizes,
        grey,
        unreadable,
        duplicates: duplicates(&splits),
    })
}

fn duplicates(splits: &[(&Images, Vec<Result<Seen>>)]) -> Duplicates {
    let mut found = Duplicates::default();
    // The first image of every content: its split, and its place there.
    let mut first: HashMap<[u8; 32], (usize, usize)> = HashMap::new();
    for (split, (images, seen)) in splits.iter().enumerate() {
        for (i, seen) in seen.iter().enumerate() {
            let Ok(seen) = seen else { continue };
            let Some(&(other, j)) = first.get(&seen.hash) else {
                first.insert(seen.hash, (split, i));
                continue;
            };
            match (other, split) {
                (0, 1) => found.across.push((images.name(i), splits[0].0.name(j))),
                (0, _) => found.train += 1,
                _ => found.test += 1,
            }
            found.other_class += usize::from(splits[other].0.labels[j] != images.labels[i]);
        }
    }
    found
}
