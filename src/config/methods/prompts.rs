//! Settings of the methods that learn prompts.

use serde::{Deserialize, Serialize};

use super::{check_ridge, check_weight};
use crate::Result;
use crate::config::validate::check;

/// L2P (RIVALS section 6), with prompts that each image chooses for itself. Prompts and keys are drawn from [0, 0.01), the head
/// starts at 0.
///
/// Source: `configs/cifar100_l2p.py`, github.com/google-research/l2p; the paper has 5 prompts of length 5 chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct L2p {
    /// Prompts that there are.
    pub pool: usize,
    /// Tokens of a prompt.
    pub length: usize,
    /// Prompts that an image chooses.
    pub top_k: usize,
    /// Weight of the cosines of queries to the keys that they chose.
    pub pull: f64,
    /// The largest norm of all gradients together that is left as it is.
    pub clip: f64,
}

impl Default for L2p {
    fn default() -> Self {
        Self { pool: 10, length: 10, top_k: 4, pull: 1.0, clip: 1.0 }
    }
}

impl L2p {
    pub(in crate::config) fn validate(&self) -> Result<()> {
        let Self { pool, length, top_k, pull, clip } = *self;
        check_prompts(("l2p.pool", pool), ("l2p.length", length))?;
        check((1..=pool).contains(&top_k), "l2p.top_k", top_k, &format!("from 1 to l2p.pool = {pool}"))?;
        check_weight("l2p.pull", pull)?;
        check_ridge("l2p.clip", clip)
    }
}

/// DualPrompt (RIVALS section 7). Prompts and keys are drawn from [0, 0.01), the head starts at 0.
///
/// Source: `configs/cifar100_dualprompt.py`, github.com/google-research/l2p; for ImageNet-R the authors have an e_length of 20.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DualPrompt {
    /// Prompts of tasks: one for each task that is to come, among which images that are judged choose from the start.
    pub pool: usize,
    /// Tokens of the prompt of all tasks.
    pub g_length: usize,
    /// Tokens of a prompt of one task.
    pub e_length: usize,
    /// Blocks with the prompt of all tasks, counted from 0.
    pub g_layers: Vec<usize>,
    /// Blocks with the prompts of single tasks.
    pub e_layers: Vec<usize>,
    /// Weight of the cosine of queries to the key of their task.
    pub pull: f64,
    /// The largest norm of all gradients together that is left as it is.
    pub clip: f64,
}

impl Default for DualPrompt {
    fn default() -> Self {
        let (g_layers, e_layers) = (vec![0, 1], vec![2, 3, 4]);
        Self { pool: 10, g_length: 5, e_length: 5, g_layers, e_layers, pull: 1.0, clip: 1.0 }
    }
}

impl DualPrompt {
    pub(in crate::config) fn validate(&self) -> Result<()> {
        check_prompts(("dualprompt.pool", self.pool), ("dualprompt.e_length", self.e_length))?;
        check_prompt("dualprompt.g_length", self.g_length)?;
        check_blocks("dualprompt.g_layers", &self.g_layers)?;
        check_blocks("dualprompt.e_layers", &self.e_layers)?;
        check_weight("dualprompt.pull", self.pull)?;
        check_ridge("dualprompt.clip", self.clip)
    }
}

/// CODA-Prompt (RIVALS section 8).
///
/// Source: `experiments/cifar-100.sh`, `models/zoo.py`, github.com/GT-RIPL/CODA-Prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coda {
    /// Components that there are in the end.
    pub pool: usize,
    /// Tasks that are to come: each has an equal share of the components.
    pub tasks: usize,
    /// Tokens of a component, keys and values together.
    pub length: usize,
    /// Blocks with prompts, counted from 0.
    pub e_layers: Vec<usize>,
    /// Weight of the penalty for components that are not orthogonal; 0 in the published scripts.
    pub mu: f64,
}

impl Default for Coda {
    fn default() -> Self {
        Self { pool: 100, tasks: 10, length: 8, e_layers: vec![0, 1, 2, 3, 4], mu: 0.0 }
    }
}

impl Coda {
    pub(in crate::config) fn validate(&self) -> Result<()> {
        let Self { pool, tasks, length, mu, .. } = *self;
        check_prompts(("coda.pool", pool), ("coda.length", length))?;
        check((1..=pool).contains(&tasks), "coda.tasks", tasks, &format!("from 1 to coda.pool = {pool}"))?;
        check(length.is_multiple_of(2), "coda.length", length, "an even number")?;
        check_blocks("coda.e_layers", &self.e_layers)?;
        check_weight("coda.mu", mu)
    }
}

/// The most prompts, and the longest.
const MAX_PROMPTS: usize = 1 << 10;

/// The most tokens of all prompts of a pool: twenty times those of the largest that was published, CODA-Prompt's.
const MAX_TOKENS: usize = 1 << 14;

/// The number of prompts and the length of each.
fn check_prompts((pool_key, pool): (&str, usize), (length_key, length): (&str, usize)) -> Result<()> {
    check_prompt(pool_key, pool)?;
    check_prompt(length_key, length)?;
    let expected = format!("at most {}, with {pool_key} = {pool}", MAX_TOKENS / pool);
    check(pool * length <= MAX_TOKENS, length_key, length, &expected)
}

fn check_prompt(key: &str, size: usize) -> Result<()> {
    check((1..=MAX_PROMPTS).contains(&size), key, size, &format!("from 1 to {MAX_PROMPTS}"))
}

/// Blocks that the backbone may have.
fn check_blocks(key: &str, blocks: &[usize]) -> Result<()> {
    let once = blocks.iter().enumerate().all(|(i, block)| !blocks[..i].contains(block));
    check(once && !blocks.is_empty(), key, format!("{blocks:?}"), "a list of blocks, none of them twice")
}
