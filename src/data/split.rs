//! Which images are for training, which are held out, which are for the test: drawn by class, from a seed of its own.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Dataset, Images, Parts, Settings};
use crate::{Error, Result};

/// Independent draws of the seed.
#[derive(Clone, Copy)]
enum Draw {
    TestShare = 1,
    Holdout,
    TrainPerClass,
    TestPerClass,
}

/// Divides what a format gave as the settings say.
///
/// # Errors
/// [`Error::Config`] where a setting leaves a class without images, or test images are missing; [`Error::Data`] where a class
/// has no image, or an image is damaged that must not be left out.
pub(super) fn divided(name: &str, parts: Parts, settings: &Settings) -> Result<Dataset> {
    let Parts { classes, mut train, mut test } = parts;
    let mut bad = Vec::new();
    if settings.skip_bad {
        train = readable(train, &mut bad);
        test = test.map(|images| readable(images, &mut bad));
    }
    let count = classes.len();
    let draw = |images: &Images, draw, wanted: &dyn Fn(usize) -> usize| {
        chosen(images, count, settings.split_seed, draw, wanted)
    };
    let share = |share: f64| move |n: usize| ((n as f64 * share).round() as usize).clamp(1, n.max(2) - 1);
    let test = match test {
        Some(_) if settings.test_share > 0.0 => {
            return Err(Error::Config(format!(
                "`test_share` = {}: {name} has test images of its own",
                settings.test_share
            )));
        }
        Some(test) => test,
        None if settings.test_share == 0.0 => {
            return Err(Error::Config(format!(
                "`test_share` must be above 0, such as 0.2: {name} has no test images of its own"
            )));
        }
        None => {
            let (of_test, rest) = draw(&train, Draw::TestShare, &share(settings.test_share));
            let test = train.pick(&of_test);
            train = train.pick(&rest);
            test
        }
    };
    let mut held_out = train.pick(&[]);
    if settings.holdout > 0.0 {
        let (out, rest) = draw(&train, Draw::Holdout, &share(settings.holdout));
        held_out = train.pick(&out);
        train = train.pick(&rest);
        every_class(name, &classes, &held_out, "held-out")?;
    }
    let few = |images: Images, most: usize, kind| match most {
        0 => images,
        most => images.pick(&draw(&images, kind, &|_| most).0),
    };
    let train = few(train, settings.train_per_class, Draw::TrainPerClass);
    let test = few(test, settings.test_per_class, Draw::TestPerClass);
    every_class(name, &classes, &train, "training")?;
    every_class(name, &classes, &test, "test")?;
    Ok(Dataset { name: name.into(), train, held_out, test, classes, bad })
}

/// The images that can be decoded; the names of the others are added to `bad`.
fn readable(images: Images, bad: &mut Vec<String>) -> Images {
    let sound: Vec<bool> = (0..images.len()).into_par_iter().map(|i| images.picture(i).is_ok()).collect();
    let (good, others): (Vec<usize>, Vec<usize>) = (0..images.len()).partition(|&i| sound[i]);
    bad.extend(others.into_iter().map(|i| images.name(i)));
    images.pick(&good)
}

/// `wanted(n)` of the n images of every class, at random, and the others; both ascending.
fn chosen(
    images: &Images,
    classes: usize,
    seed: u64,
    draw: Draw,
    wanted: &dyn Fn(usize) -> usize,
) -> (Vec<usize>, Vec<usize>) {
    let mut of_class = vec![Vec::new(); classes];
    images.labels.iter().enumerate().for_each(|(i, &label)| of_class[label as usize].push(i));
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (class, mut members) in of_class.into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((draw as u64) << 32 | class as u64);
        members.shuffle(&mut rng);
        let n = wanted(members.len()).min(members.len());
        taken.extend(&members[..n]);
        left.extend(&members[n..]);
    }
    taken.sort_unstable();
    left.sort_unstable();
    (taken, left)
}

fn every_class(name: &str, classes: &[String], images: &Images, what: &str) -> Result<()> {
    let mut seen = vec![false; classes.len()];
    images.labels.iter().for_each(|&label| seen[label as usize] = true);
    match seen.iter().position(|&seen| !seen) {
        Some(class) => {
            let message = format!("class `{}` has no {what} image", classes[class]);
            Err(Error::Data { file: name.into(), message })
        }
        None if classes.is_empty() => Err(Error::Data { file: name.into(), message: "there is no class".into() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ICONS, embedded, icons};

    fn read() -> Parts {
        embedded::read(ICONS).unwrap().unwrap()
    }

    #[test]
    fn shares_are_of_every_class_and_of_the_seed() {
        let labels = icons().unwrap().train.labels;
        let count = |labels: &[u32]| {
            let mut counts = [0usize; 100];
            labels.iter().for_each(|&y| counts[y as usize] += 1);
            counts
        };
        let with = |settings: Settings| divided(ICONS, read(), &settings).unwrap();
        let data = with(Settings { holdout: 0.25, test_per_class: 3, ..Settings::default() });
        let (all, train, out) = (count(&labels), count(&data.train.labels), count(&data.held_out.labels));
        for class in 0..100 {
            assert_eq!(train[class] + out[class], all[class]);
            assert_eq!(out[class], (all[class] as f64 / 4.0).round() as usize);
        }
        assert_eq!(count(&data.test.labels), [3; 100]);
        let again = with(Settings { holdout: 0.25, ..Settings::default() });
        assert_eq!(again.held_out.names(), data.held_out.names());
        let other = with(Settings { holdout: 0.25, split_seed: 1, ..Settings::default() });
        assert_ne!(other.held_out.names(), data.held_out.names());
        // What is held out does not depend on how many of the rest are used.
        let few = with(Settings { holdout: 0.25, train_per_class: 2, ..Settings::default() });
        assert_eq!(few.held_out.names(), data.held_out.names());
        assert_eq!(count(&few.train.labels), [2; 100]);
    }

    #[test]
    fn test_images_come_from_one_place() {
        let refused = |parts: Parts, settings: Settings| divided("data", parts, &settings).unwrap_err().to_string();
        let own = Settings { test_share: 0.5, ..Settings::default() };
        assert!(refused(read(), own.clone()).contains("test images of its own"));
        let without = || Parts { test: None, ..read() };
        assert!(refused(without(), Settings::default()).contains("`test_share` must be above 0"));
        let data = divided("data", without(), &own).unwrap();
        assert_eq!(data.train.len() + data.test.len(), 4220);
        let (train, test) = (data.train.names(), data.test.names());
        assert!(train.iter().all(|name| !test.contains(name)));
        // A class of one image cannot be in both.
        let mut single = without();
        single.train = single.train.pick(&[0]);
        single.classes.truncate(1);
        single.train.labels = vec![0];
        assert!(refused(single, own).contains("has no training image"));
    }
}
