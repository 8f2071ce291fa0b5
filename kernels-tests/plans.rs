//! Plans are pure functions of shapes and caps: for random ones of both, every plan stays within its caps, or says so.

mod analytic;
mod network;
mod noise;

use libtest_mimic::{Failed, Trial};
use minoise::device::{Caps, DType, Device, DeviceClass, Kernel, Plan, Tensor};
use minoise::{Error, Result};
use rand::{RngExt, SeedableRng};

/// Draws for each kernel.
const DRAWS: u64 = 400;

/// Random caps, random shapes, and the kernels made of both.
struct Draw {
    rng: rand_chacha::ChaCha8Rng,
    device: Device,
}

impl Draw {
    /// Caps from the floor to large, but for the number of workgroups: as few as none has, so that small shapes have to be
    /// spread.
    fn new(seed: u64) -> Self {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let subgroup = [(0, 0), (4, 4), (8, 8), (16, 16), (32, 32), (32, 64), (64, 64), (8, 32), (4, 128), (128, 128)];
        let subgroup = subgroup[rng.random_range(0..subgroup.len())];
        let f16 = rng.random_range(0..2) == 1;
        let caps = Caps {
            class: [DeviceClass::Gpu, DeviceClass::SoftwareGpu][rng.random_range(0..2)],
            workgroup_memory: (16 << 10)
                + [0, 16 << 10, 48 << 10, 4 * rng.random_range(0..12_000)][rng.random_range(0..4)],
            max_invocations: [256, 512, 1024, rng.random_range(256..1024)][rng.random_range(0..4)],
            max_groups: [65_535, 1 << 20, rng.random_range(16..2048)][rng.random_range(0..3)],
            storage_buffers: rng.random_range(8..32),
            subgroup,
            row_share: subgroup.0 >= 16 && rng.random_range(0..2) == 1,
            f16,
            matrix: [None, Some(8), Some(16)][rng.random_range(0..3)].filter(|_| f16 && subgroup.1 > 0),
            ..Caps::floor()
        };
        Self { rng, device: Device::planner(caps) }
    }

    /// From 1 to `most`, as many below its root as above.
    fn size(&mut self, most: usize) -> usize {
        (most as f64).powf(self.rng.random_range(0.0..1.0)).round() as usize
    }

    /// A multiple of 4.
    fn quads(&mut self, most: usize) -> usize {
        4 * self.size(most / 4)
    }

    fn flag(&mut self) -> bool {
        self.rng.random_range(0..2) == 1
    }

    fn of(&self, dtype: DType, shape: &[usize]) -> Tensor {
        self.device.empty(shape, dtype).expect("a tensor within the floor")
    }

    fn t(&self, shape: &[usize]) -> Tensor {
        self.of(DType::Real, shape)
    }

    /// Whether the kernel has a plan for these caps; an error where the plan leaves them.
    fn plan<K: Kernel>(&self, kernel: &K) -> Result<bool, String> {
        let operands = kernel.operands().map_err(|e| format!("{}: {e}", K::NAME))?;
        let caps = self.device.caps();
        if operands.len() > caps.storage_buffers as usize {
            return Err(format!("{}: {} bindings", K::NAME, operands.len()));
        }
        match kernel.plan(caps) {
            Ok(plan) if plan == kernel.plan(caps).expect("the same plan") => within(caps, &plan).map(|()| true),
            Ok(_) => Err(format!("{}: two plans for one shape", K::NAME)),
            Err(Error::Limit { .. } | Error::Unsupported(_)) => Ok(false),
            Err(e) => Err(format!("{}: {e}", K::NAME)),
        }
    }
}

fn within(caps: &Caps, plan: &Plan) -> Result<(), String> {
    let most = u64::from(caps.max_groups);
    let all: u64 = plan.groups.iter().map(|&x| u64::from(x)).product();
    // What no two dimensions hold may be refused.
    let spread = all > most * most || plan.groups.iter().all(|&x| u64::from(x) <= most);
    let memory = plan.shared_bytes <= caps.workgroup_memory;
    let threads = (1..=caps.max_invocations).contains(&plan.workgroup);
    if spread && memory && threads { Ok(()) } else { Err(format!("{plan:?} leaves {caps:?}")) }
}

type One = fn(&mut Draw) -> Result<bool, String>;

pub fn trials() -> Vec<Trial> {
    let one = |(name, one): &'static (&'static str, One)| {
        Trial::test(format!("plans of {name} respect random caps"), move || {
            let mut planned = 0;
            for seed in 0..DRAWS {
                let fits = one(&mut Draw::new(seed)).map_err(|e| Failed::from(format!("draw {seed}: {e}")))?;
                planned += u64::from(fits);
            }
            // Limits are there for the largest shapes only.
            if 2 * planned > DRAWS { Ok(()) } else { Err(format!("{planned} plans in {DRAWS} draws").into()) }
        })
    };
    [network::KERNELS, analytic::KERNELS, noise::KERNELS].into_iter().flatten().map(one).collect()
}
