//! The JPEGs of the folder that `PEER_IMAGES` names, as a backbone sees them: by the loader, and by a plain loop over the
//! crates that it stands on. Passes go over all of them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use minoise::data::transform::{Window, resized_size};
use minoise::data::{Batch, Budget, Images, Loader, Settings, View};
use rayon::prelude::*;
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

use super::cases::Ready;

/// Pixels of an image, and of the shorter side of what it is the middle of.
const SIDE: usize = 224;
const RESIZED: usize = 256;
const SIZE: usize = 3 * SIDE * SIDE;
const BATCH: usize = 64;

fn files() -> Vec<PathBuf> {
    let folder = std::env::var_os("PEER_IMAGES").expect("PEER_IMAGES, a folder of JPEGs");
    let entries = std::fs::read_dir(folder).expect("the folder of PEER_IMAGES");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    files.sort();
    files
}

/// What is compared of a batch: some bytes of its first image.
fn some(batch: &[u8]) -> impl Iterator<Item = f32> {
    batch[..SIZE].iter().step_by(97).map(|&x| f32::from(x))
}

/// As a run loads them, with the threads of the CPU device, and nothing kept.
pub fn ours() -> Ready {
    let images = Images::of_files(files());
    let all: Vec<usize> = (0..images.len()).collect();
    let batches: Vec<_> = all.chunks(BATCH).map(|idx| Batch { images: idx.to_vec(), epoch: None }).collect();
    let view = View::new(&Settings::default(), 3, SIDE);
    let loader = Loader::new(images, view, 0, false, &Budget::new(0)).with_threads(rayon::current_num_threads());
    let loader = Arc::new(loader);
    let pass = Rc::new(move || -> Vec<f32> {
        let batches = loader.stream(batches.clone()).expect("threads");
        batches.flat_map(|batch| some(&batch.expect("a batch")).collect::<Vec<_>>()).collect()
    });
    let checked = pass.clone();
    Ready { pass: Box::new(move || drop(pass())), results: Box::new(move || checked()) }
}

/// What a thread of the plain loop works with.
#[derive(Default)]
struct Scratch {
    resizer: Resizer,
    decoded: Vec<u8>,
    seen: Vec<u8>,
}

impl Scratch {
    /// Makes the planes of an image of a file.
    fn load(&mut self, file: &Path, planes: &mut [u8]) {
        let bytes = std::fs::read(file).expect("a file");
        let mut decoder = JpegDecoder::new(ZCursor::new(bytes.as_slice()));
        decoder.decode_headers().expect("a JPEG");
        let (width, height) = decoder.dimensions().expect("decoded headers");
        self.decoded.resize(3 * width * height, 0);
        decoder.decode_into(&mut self.decoded).expect("a JPEG of three colours");
        let size = resized_size([height, width], RESIZED);
        let part = Window::centre(size, SIDE);
        let place = |at: usize, from: usize, to: usize| at as f64 * from as f64 / to as f64;
        let (x, y) = (place(part.left, width, size[1]), place(part.top, height, size[0]));
        let (w, h) = (place(SIDE, width, size[1]), place(SIDE, height, size[0]));
        let filter = ResizeAlg::Convolution(FilterType::CatmullRom);
        let options = ResizeOptions::new().resize_alg(filter).crop(x, y, w, h);
        self.seen.resize(SIZE, 0);
        let from = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, &self.decoded);
        let to = TypedImage::<U8x3>::from_buffer(SIDE as u32, SIDE as u32, &mut self.seen);
        self.resizer.resize_typed(&from.expect("pixels"), &mut to.expect("pixels"), &options).expect("a resized image");
        for (c, plane) in planes.chunks_exact_mut(SIDE * SIDE).enumerate() {
            plane.iter_mut().zip(self.seen.chunks_exact(3)).for_each(|(to, pixel)| *to = pixel[c]);
        }
    }
}

/// All files side by side, into memory that is there before.
pub fn plain() -> Ready {
    let files = files();
    let mut pixels = vec![0u8; SIZE * files.len()];
    let pass = Rc::new(RefCell::new(move || -> Vec<f32> {
        let images = pixels.par_chunks_exact_mut(SIZE).zip(&files);
        images.for_each_init(Scratch::default, |scratch, (planes, file)| scratch.load(file, planes));
        pixels.chunks(BATCH * SIZE).flat_map(some).collect()
    }));
    let checked = pass.clone();
    Ready { pass: Box::new(move || drop((*pass.borrow_mut())())), results: Box::new(move || (*checked.borrow_mut())()) }
}
