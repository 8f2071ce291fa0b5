//! CODA-Prompt (RIVALS section 8): prefixes that are mixed from components, more of them with every task.
//!
//! Source: arXiv 2211.13218; GT-RIPL/CODA-Prompt, `models/zoo.py`, `learners/prompt.py`, `models/vit.py`. Differs: none;
//! LAMDA-PILOT's is a copy.

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::config;
use crate::device::{Device, Tensor};
use crate::method::Task;
use crate::method::prompts::{ClassHead, Course, Draw, Part, asked, check_blocks, check_task, queries};
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::model::optimizer::{Parameter, Schedule};
use crate::model::state::{put, take};
use crate::model::vit::{Beside, Vit};
use crate::store::Tree;

/// `alpha_k = unit(q A_k) . unit(K_k)`, element by element inside the first; a prefix is `sum_k alpha_k P_k`, its first half
/// keys. Components of earlier tasks are constants.
#[derive(Debug)]
pub(crate) struct Coda {
    of: config::Coda,
    course: Course,
    draw: Draw,
    /// Of each block with a prefix.
    blocks: Vec<Block>,
    head: ClassHead,
}

#[derive(Debug)]
struct Block {
    block: usize,
    earlier: Components,
    /// Those of the newest task.
    newest: Components,
}

/// Rows of P [n, length d], K and A [n, d].
#[derive(Clone, Debug)]
struct Components {
    p: Tensor,
    k: Tensor,
    a: Tensor,
}

/// Queries q [B, d] and their squares, element by element.
struct Asked {
    q: Var,
    squares: Var,
}

impl Asked {
    fn new(tape: &mut Tape, queries: &Tensor) -> Result<Self> {
        let q = tape.var(queries);
        let squares = tape.multiply(&q, &q)?;
        Ok(Self { q, squares })
    }
}

impl Components {
    /// With nothing in particular in them.
    fn new(device: &Device, n: usize, length: usize, d: usize) -> Result<Self> {
        Ok(Self { p: device.reals(&[n, length * d])?, k: device.reals(&[n, d])?, a: device.reals(&[n, d])? })
    }

    /// The parts of a block, with the names of files and states.
    fn parts(&self, block: usize) -> [(Part, &Tensor); 3] {
        [(Part::Component(block), &self.p), (Part::ComponentKey(block), &self.k), (Part::Attention(block), &self.a)]
    }

    fn parts_mut(&mut self, block: usize) -> [(Part, &mut Tensor); 3] {
        let Self { p, k, a } = self;
        [(Part::Component(block), p), (Part::ComponentKey(block), k), (Part::Attention(block), a)]
    }

    fn is_empty(&self) -> bool {
        self.p.is_empty()
    }

    /// `alpha P` [B, length d], added to what other components give.
    fn mix(&self, tape: &mut Tape, asked: &Asked, others: Option<&Var>) -> Result<Var> {
        let [p, k, a] = [&self.p, &self.k, &self.a].map(|x| tape.var(x));
        // (q A) . unit(K) over |q A|, of all images and components at once.
        let k = tape.unit(&k)?;
        let (weighted, squares) = (tape.multiply(&a, &k)?, tape.multiply(&a, &a)?);
        let along = tape.linear(&asked.q, Linear { transposed: true, ..Linear::new(&weighted) })?;
        let lengths = tape.linear(&asked.squares, Linear { transposed: true, ..Linear::new(&squares) })?;
        let alpha = tape.root_ratio(&along, &lengths)?;
        tape.linear(&alpha, Linear { residual: others, ..Linear::new(&p) })
    }
}

/// New rows from draws: each minus its projections on all rows before it, the old ones and the new ones, all of the draw
/// itself; then divided by its length. Old rows need not be orthogonal to each other, and stay as they are.
fn orthogonal(old: &[f64], draws: &[f64], width: usize) -> Vec<f64> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let mut rows: Vec<Vec<f64>> = old.chunks(width).map(<[f64]>::to_vec).collect();
    for draw in draws.chunks(width) {
        let mut row = draw.to_vec();
        for earlier in &rows {
            let share = dot(draw, earlier) / dot(earlier, earlier).max(f64::MIN_POSITIVE);
            row.iter_mut().zip(earlier).for_each(|(x, u)| *x -= share * u);
        }
        rows.push(row);
    }
    let new = rows.split_off(old.len() / width);
    let unit = |row: Vec<f64>| {
        let length = dot(&row, &row).sqrt().max(f64::MIN_POSITIVE);
        row.into_iter().map(move |x| x / length)
    };
    new.into_iter().flat_map(unit).collect()
}

impl Coda {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for blocks that the backbone has not; allocation failures.
    pub fn new(vit: &Vit, of: config::Coda, course: Course, draw: Draw) -> Result<Self> {
        check_blocks(vit, "coda.e_layers", &of.e_layers)?;
        let (device, d) = (vit.device(), vit.architecture.sizes.dim);
        let blocks = blocks(device, &of, [0, 0], d)?;
        Ok(Self { blocks, head: ClassHead::new(device, 0, d)?, of, course, draw })
    }

    /// Components of a task.
    fn share(&self) -> usize {
        self.of.pool / self.of.tasks
    }

    /// Features [B, d] of images behind what their queries [B, d] mix.
    fn behind(&self, vit: &Vit, tape: &mut Tape, images: &Tensor, queries: &Tensor) -> Result<Var> {
        let asked = Asked::new(tape, queries)?;
        let rows = [images.shape()[0], 2, self.of.length / 2, vit.architecture.sizes.dim];
        let mut prefixes = vec![None; vit.architecture.sizes.depth];
        for Block { block, earlier, newest } in &self.blocks {
            let others = if earlier.is_empty() { None } else { Some(earlier.mix(tape, &asked, None)?) };
            let prefix = newest.mix(tape, &asked, others.as_ref())?;
            prefixes[*block] = Some(tape.reshape(&prefix, &rows));
        }
        vit.features(tape, images, |tape, j, x| {
            vit.block_beside(tape, j, &x, Beside { prefix: prefixes[j].as_ref(), ..Beside::default() })
        })
    }

    /// Adds `mu` times the mean squared entry of `M M^T - I` to a loss, M all rows of a part, and gives the root.
    fn penalty(&self, tape: &mut Tape, [earlier, newest]: [&Tensor; 2], loss: (&Tensor, usize)) -> Result<Var> {
        let (old, new) = (tape.var(earlier), tape.var(newest));
        let weight = self.of.mu / ((earlier.rows() + newest.rows()) as f64).powi(2);
        if !earlier.is_empty() {
            let among = apart(tape, &old)?;
            tape.inner_loss(&among, &among, weight, loss)?;
            let across = tape.linear(&new, Linear { transposed: true, ..Linear::new(&old) })?;
            // These stand in the matrix twice.
            tape.inner_loss(&across, &across, 2.0 * weight, loss)?;
        }
        let among = apart(tape, &new)?;
        tape.inner_loss(&among, &among, weight, loss)
    }
}

/// `M M^T - I`.
fn apart(tape: &mut Tape, rows: &Var) -> Result<Var> {
    let n = rows.value().rows();
    let minus_one: Vec<f64> = (0..n * n).map(|i| -f64::from(u8::from(i % (n + 1) == 0))).collect();
    let minus_one = tape.device().upload(&minus_one, &[n, n])?;
    let minus_one = tape.var(&minus_one);
    tape.linear(rows, Linear { transposed: true, residual: Some(&minus_one), ..Linear::new(rows) })
}

/// All blocks with so many components of earlier tasks and of the newest, with nothing in particular in them.
fn blocks(device: &Device, of: &config::Coda, [earlier, newest]: [usize; 2], d: usize) -> Result<Vec<Block>> {
    let components = |n| Components::new(device, n, of.length, d);
    let block = |&block: &usize| Ok(Block { block, earlier: components(earlier)?, newest: components(newest)? });
    of.e_layers.iter().map(block).collect()
}

/// Row after row of a matrix that may be empty.
async fn rows(device: &Device, x: &Tensor) -> Result<Vec<f64>> {
    if x.is_empty() { Ok(Vec::new()) } else { device.read(x).await }
}

impl Pupil for Coda {
    const QUERIES: bool = true;
    const DROP_LAST: bool = true;

    fn epochs(&self, task: usize) -> usize {
        self.course.epochs(task)
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        check_task(task, "coda.tasks", self.of.tasks)?;
        let (device, share) = (vit.device(), self.share());
        let entries = task.index * share..(task.index + 1) * share;
        for Block { block, earlier, newest } in &mut self.blocks {
            let pairs = earlier.parts_mut(*block).into_iter().zip(newest.parts_mut(*block));
            for ((part, old), (_, new)) in pairs {
                let width = old.cols();
                let known = [rows(device, old).await?, rows(device, new).await?].concat();
                let fresh = orthogonal(&known, &self.draw.entries(part, entries.clone(), width)?, width);
                *old = device.upload(&known, &[known.len() / width, width])?;
                *new = device.upload(&fresh, &[share, width])?;
            }
        }
        self.head.widen(device, task.classes, &self.draw)
    }

    fn descent(&self, _: &Task) -> Descent {
        let parts = self.blocks.iter().flat_map(|Block { block, newest, .. }| newest.parts(*block));
        let newest = parts.map(|(part, tensor)| Parameter::whole(&part.path(), tensor));
        let parameters = newest.chain(self.head.parameters()).collect();
        Descent { parameters, rule: self.course.rule, schedule: Schedule::Coda, clip: None }
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        let f = self.behind(vit, tape, &given.images, queries(given)?)?;
        let mut root = self.head.cross_entropy(tape, &f, given)?;
        if self.of.mu > 0.0 && given.first == 0 {
            for Block { block, earlier, newest } in &self.blocks {
                for ((_, old), (_, new)) in earlier.parts(*block).into_iter().zip(newest.parts(*block)) {
                    root = self.penalty(tape, [old, new], (given.loss.loss, given.loss.slot))?;
                }
            }
        }
        Ok(root.into())
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let (mut tape, queries) = asked(vit, images)?;
        let f = self.behind(vit, &mut tape, images, &queries)?;
        self.head.scores(&mut tape, &f)
    }

    fn learned(&self) -> Vec<Parameter> {
        let mut all = Vec::new();
        for Block { block, earlier, newest } in &self.blocks {
            for ((part, old), (_, new)) in earlier.parts(*block).into_iter().zip(newest.parts(*block)) {
                all.extend((!old.is_empty()).then(|| Parameter::whole(&format!("{}.earlier", part.path()), old)));
                all.extend((!new.is_empty()).then(|| Parameter::whole(&part.path(), new)));
            }
        }
        all.into_iter().chain(self.head.parameters()).collect()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        self.head.save(&mut tree, device).await?;
        for Block { block, earlier, newest } in &self.blocks {
            for ((part, old), (_, new)) in earlier.parts(*block).into_iter().zip(newest.parts(*block)) {
                let all = device.reals(&[old.rows() + new.rows(), old.cols()])?;
                device.copy(old, 0, &all, 0, old.len())?;
                device.copy(new, 0, &all, old.len(), new.len())?;
                put(&mut tree, &part.path(), device, &all).await?;
            }
        }
        Ok(tree)
    }

    async fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        let (device, share) = (vit.device(), self.share());
        self.head.restore(&mut tree, device)?;
        for Block { block, earlier, newest } in &mut self.blocks {
            let pairs = earlier.parts_mut(*block).into_iter().zip(newest.parts_mut(*block));
            for ((part, old), (_, new)) in pairs {
                let (path, width) = (part.path(), old.cols());
                let n = tree.shape(&path)?.first().copied().unwrap_or(0);
                if n % share != 0 {
                    return Err(tree.error(format!("`{path}` has {n} rows, a multiple of {share} is needed")));
                }
                let all = take(&mut tree, &path, &[n, width])?;
                let (known, fresh) = all.split_at(n.saturating_sub(share) * width);
                *old = device.upload(known, &[known.len() / width, width])?;
                *new = device.upload(fresh, &[fresh.len() / width, width])?;
            }
        }
        tree.finish()
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        check_task(task, "coda.tasks", self.of.tasks)?;
        let (planner, d, share) = (vit.device(), vit.architecture.sizes.dim, self.share());
        Ok(Self {
            blocks: blocks(planner, &self.of, [task.index * share, share], d)?,
            head: ClassHead::new(planner, task.classes, d)?,
            of: self.of.clone(),
            course: self.course,
            draw: self.draw.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::orthogonal;

    /// Behind rows of which one is long, the draws lose what they have of each, all at once.
    #[test]
    fn draws_lose_their_projections() {
        let root = f64::sqrt(0.5);
        let old = [2.0, 0.0, 0.0, 0.0];
        assert_eq!(orthogonal(&old, &[3.0, 4.0, 0.0, 0.0], 4), [0.0, 1.0, 0.0, 0.0]);
        let two = orthogonal(&[], &[0.0, 5.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0], 4);
        let want = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, root, root];
        assert!(two.iter().zip(want).all(|(x, y)| (x - y).abs() < 1e-15), "{two:?}");
        // Old rows that are not orthogonal take what they share twice.
        let skew = orthogonal(&[1.0, 0.0, 1.0, 1.0], &[1.0, 1.0], 2);
        assert_eq!(skew, [-1.0, 0.0]);
    }
}
