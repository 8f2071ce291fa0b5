//! The report of runs: one page that needs nothing else, and all its figures as SVG and PNG.

mod accuracy;
mod bars;
mod colour;
mod confusion;
mod cost;
mod document;
mod figure;
mod heat;
mod html;
mod lines;
mod noise;
mod runs;
mod say;
mod section;
mod settings;
mod sheet;
mod summary;

use std::path::{Path, PathBuf};

use self::runs::{Group, Run};
pub(crate) use self::settings::quoted;
use crate::report::picture;
use crate::store::{check_replaceable, replace};
use crate::{Error, Result};

const HTML: &str = "report.html";
const SVG: &str = "report.svg";
const PNG: &str = "report.png";

/// A report: accuracy, forgetting, confusions, what the noise does, what it took, and how to have it again. Runs that differ by
/// their seeds alone are shown by mean and deviation.
///
/// # Examples
/// ```no_run
/// use minoise::report::Page;
///
/// let page = Page::of(&["runs/paper-0".into(), "runs/paper-1".into()])?;
/// println!("{}", page.write("reports".as_ref())?.display());
/// # Ok::<(), minoise::Error>(())
/// ```
pub struct Page {
    html: String,
    svg: String,
    png: Vec<u8>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

impl Page {
    /// The report of the runs in these directories, of which there is at least one.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Store`](crate::Error::Store) where there are no results, or damaged ones;
    /// [`Error::Config`](crate::Error::Config) where two directories hold the same run, or there is none.
    pub fn of(dirs: &[PathBuf]) -> Result<Self> {
        Self::drawn(dirs.iter().map(|dir| Run::read(dir)).collect::<Result<_>>()?)
    }

    fn drawn(runs: Vec<Run>) -> Result<Self> {
        if runs.is_empty() {
            return Err(Error::Config("a report needs a run".into()));
        }
        let groups = Group::all(runs)?;
        let groups = groups.as_slice();
        let mut sections = vec![
            accuracy::curve(groups)?,
            accuracy::forgetting(groups)?,
            accuracy::matrix(groups)?,
            accuracy::confusion(groups)?,
            accuracy::classes(groups)?,
            noise::mixture(groups)?,
            noise::changes(groups)?,
            noise::drift(groups)?,
            noise::gamma(groups)?,
            cost::time(groups)?,
            cost::tasks(groups)?,
            cost::memory(groups)?,
        ];
        sections.extend(cost::kernels(groups)?);
        let svg = sheet::svg(groups, &sections);
        Ok(Self { html: document::document(groups, &sections)?, png: picture::png(&svg)?, svg })
    }

    /// Writes `report.html`, `report.svg` and `report.png` to `dir`, creating it; returns the path of the page. Each appears
    /// whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where that is not possible.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        replace(&dir.join(SVG), self.svg.as_bytes())?;
        replace(&dir.join(PNG), &self.png)?;
        let path = dir.join(HTML);
        replace(&path, self.html.as_bytes())?;
        Ok(path)
    }

    /// Tries to write to `dir`, so that a report fails before its work and not after.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where that is not possible.
    pub fn check_writable(dir: &Path) -> Result<()> {
        [HTML, SVG, PNG].iter().try_for_each(|name| check_replaceable(&dir.join(name)))
    }
}

#[cfg(test)]
mod tests;
