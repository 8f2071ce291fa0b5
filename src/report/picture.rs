//! Pictures of plots.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::{Error, Result};

/// The most pixels along a side of the PNG; larger plots are made smaller.
const LONGEST: f32 = 16_000.0;

/// The PNG of an SVG document. Letters are of a font that the program brings, and of the system's where it lacks them.
///
/// # Errors
/// [`Error::Unsupported`] where it cannot be drawn.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let failed = |why: String| Error::Unsupported(format!("the picture cannot be drawn: {why}"));
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_system_fonts();
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| failed(e.to_string()))?;
    let size = tree.size();
    let scale = (LONGEST / size.width().max(size.height())).min(1.0);
    let [wide, high] = [size.width(), size.height()].map(|x| (x * scale).ceil() as u32);
    let mut pixels = Pixmap::new(wide, high).ok_or_else(|| failed(format!("{wide} x {high} pixels")))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| failed(e.to_string()))
}

/// A text that figures can hold: without characters that XML has no place for.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(drawable).collect()
}

pub(super) fn drawable(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}
