//! The colours of figures, each with what it becomes on a dark page.

use plotters::style::RGBColor;

/// A colour on a light page and on a dark one. Figures are drawn in the light one, which the page's style exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour {
    pub light: u32,
    pub dark: u32,
}

const fn colour(light: u32, dark: u32) -> Colour {
    Colour { light, dark }
}

/// What the page lies on.
pub(super) const PAPER: Colour = colour(0xFFFFFE, 0x0F1318);
/// Text and axes; also the numbers in light cells of heat maps.
pub(super) const INK: Colour = colour(0x1B1F24, 0xE8EDF2);
/// What is said in passing.
pub(super) const MUTED: Colour = colour(0x57606A, 0xA2ACB7);
/// Lines behind data.
pub(super) const GRID: Colour = colour(0xDCE1E6, 0x2B323A);
/// Numbers in the strong cells of heat maps.
pub(super) const ON_STRONG: Colour = colour(0xFFFFFF, 0x0B0F14);

/// Series in their order; the eleventh is as the first, with another marker.
pub(super) const SERIES: [Colour; 10] = [
    colour(0x0A5CA8, 0x6CB4F5),
    colour(0xB0470A, 0xF2994F),
    colour(0x1A7340, 0x5FCB86),
    colour(0x8A2A8C, 0xDC93E4),
    colour(0x00707A, 0x4CC7D2),
    colour(0xA61B29, 0xF58690),
    colour(0x7A5C00, 0xD9B44A),
    colour(0x5443BD, 0xADA5F7),
    colour(0x9C2F6B, 0xF08BC0),
    colour(0x4D4D4D, 0xBFC4C9),
];

/// Cells of heat maps, from the least to the most.
pub(super) const LEVELS: [Colour; 9] = [
    colour(0xEEF4FA, 0x18222D),
    colour(0xDAE7F3, 0x1B2F43),
    colour(0xBFD7EB, 0x1E3D59),
    colour(0x9DC3E0, 0x214C70),
    colour(0x79ACD4, 0x255C87),
    colour(0x2F72A9, 0x5C9FD0),
    colour(0x205F95, 0x7FB6DF),
    colour(0x124B7D, 0xA6CFEC),
    colour(0x07355C, 0xD0E7F8),
];

/// The first level that takes [`ON_STRONG`].
const STRONG: usize = 5;

/// The colour of numbers in cells of a level.
pub(super) fn on_level(level: usize) -> Colour {
    if level < STRONG { INK } else { ON_STRONG }
}

/// The colour of a series.
pub(super) fn series(index: usize) -> Colour {
    SERIES[index % SERIES.len()]
}

impl Colour {
    /// As attributes of figures have it.
    pub fn hex(self) -> String {
        hex(self.light)
    }

    pub fn rgb(self) -> RGBColor {
        let [_, r, g, b] = self.light.to_be_bytes();
        RGBColor(r, g, b)
    }
}

fn hex(rgb: u32) -> String {
    format!("#{rgb:06X}")
}

/// Rules that give the figures of a page their dark colours.
pub(super) fn dark_rules() -> String {
    let all = [PAPER, INK, MUTED, GRID, ON_STRONG].into_iter().chain(SERIES).chain(LEVELS);
    let rule = |c: Colour| {
        let (light, dark) = (hex(c.light), hex(c.dark));
        format!("svg [fill=\"{light}\"]{{fill:{dark}}}svg [stroke=\"{light}\"]{{stroke:{dark}}}\n")
    };
    all.map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of two colours by WCAG 2.
    fn contrast(a: u32, b: u32) -> f64 {
        let luminance = |rgb: u32| {
            let linear = |byte: u8| {
                let x = f64::from(byte) / 255.0;
                if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
            };
            let [_, r, g, b] = rgb.to_be_bytes().map(linear);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_can_be_read_on_light_and_dark_pages() {
        let both = |a: Colour, b: Colour| contrast(a.light, b.light).min(contrast(a.dark, b.dark));
        for text in [INK, MUTED].into_iter().chain(SERIES) {
            assert!(both(text, PAPER) >= 4.5, "{text:?}: {}", both(text, PAPER));
        }
        for (level, colour) in LEVELS.into_iter().enumerate() {
            assert!(both(on_level(level), colour) >= 4.5, "{level}: {}", both(on_level(level), colour));
        }
    }

    #[test]
    fn every_light_colour_is_one_of_its_own() {
        let rules = dark_rules();
        let mut light: Vec<&str> = rules.split("[fill=\"").skip(1).map(|rule| &rule[..7]).collect();
        let all = light.len();
        light.sort_unstable();
        light.dedup();
        assert_eq!(light.len(), all);
    }
}
