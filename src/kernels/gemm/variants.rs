//! The ways to run a product, and which one a device takes.

use std::fmt;

use super::{Activation, Gemm, Layout, MATRIX_TILES, MatrixTile};
use crate::device::{Caps, Constant, DType, DeviceClass, Plan, Varied, grid};

/// What one workgroup and one thread of `gemm.wgsl` make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    pub cols: usize,
    /// Rows and columns of a thread, multiples of 4.
    thread: [usize; 2],
    /// Time of one element on a busy device, relative to the others.
    cost: usize,
}

/// Tiles for large results, for small ones and for narrow ones.
pub const TILES: [Tile; 6] = [
    Tile { rows: 128, cols: 128, thread: [8, 8], cost: 100 },
    Tile { rows: 64, cols: 64, thread: [8, 4], cost: 110 },
    Tile { rows: 64, cols: 32, thread: [4, 4], cost: 125 },
    Tile { rows: 32, cols: 32, thread: [4, 4], cost: 135 },
    Tile { rows: 64, cols: 16, thread: [4, 4], cost: 150 },
    Tile { rows: 16, cols: 64, thread: [4, 4], cost: 150 },
];
const SMALL: usize = 3;

/// One way to run a product; all give the same up to rounding, the last two up to that of halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `gemm.wgsl`: tiles that pass through workgroup memory.
    Tile(Tile),
    /// `gemm_rows.wgsl`: lanes take rows, without workgroup memory.
    Rows,
    /// `gemm_shuffle.wgsl`: tiles of 8 times as many rows and columns as lanes that hand operands to each other.
    Shuffle(usize),
    /// `gemm_half.wgsl`: f16 arithmetic, which rounds A as B is stored.
    Half(Tile),
    /// `gemm_matrix.wgsl`: cooperative matrices, which round A as B is stored.
    Matrix(MatrixTile),
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(Tile { rows, cols, .. }) => write!(f, "{rows}x{cols}"),
            Self::Rows => f.write_str("rows"),
            Self::Shuffle(lanes) => write!(f, "shuffle {0}x{0}", 8 * lanes),
            Self::Half(Tile { rows, cols, .. }) => write!(f, "half {rows}x{cols}"),
            Self::Matrix(MatrixTile { rows, cols, .. }) => write!(f, "matrix {rows}x{cols}"),
        }
    }
}

impl Layout {
    /// What distinguishes products of one size in the table of an adapter: how they are stored.
    pub fn class(self, halves: bool) -> &'static str {
        match (self, halves) {
            (Self::NN, false) => "NN",
            (Self::NT, false) => "NT",
            (Self::TN, false) => "TN",
            (Self::NN, true) => "NN halves",
            (Self::NT, true) => "NT halves",
            (Self::TN, true) => "TN halves",
        }
    }
}

impl Varied for Gemm<'_> {
    type Variant = Variant;

    fn all() -> Vec<Variant> {
        let halves = TILES.map(Variant::Half).into_iter().chain(MATRIX_TILES.map(Variant::Matrix));
        TILES.map(Variant::Tile).into_iter().chain([Variant::Rows, Variant::Shuffle(16)]).chain(halves).collect()
    }

    /// Real GPUs alone multiply halves, and exchange operands where that is free: others would merely emulate it.
    fn planned(&self, variant: Variant, caps: &Caps) -> Option<Plan> {
        let gpu = caps.class == DeviceClass::Gpu;
        match variant {
            Variant::Tile(tile) => Some(self.tiled("gemm", &tile, 4, caps)),
            Variant::Rows => self.rows_apply().then(|| self.by_rows(caps)),
            Variant::Shuffle(lanes) if caps.row_share => self.shuffle(lanes, caps),
            Variant::Half(tile) if gpu => self.half(&tile, caps),
            Variant::Matrix(tile) if gpu => self.matrix(&tile, caps),
            _ => None,
        }
    }

    fn cost(&self, variant: Variant, caps: &Caps) -> Option<f64> {
        match (variant, caps.class) {
            (Variant::Rows, DeviceClass::SoftwareGpu) => Some(0.0),
            // Small tiles compile fast.
            (Variant::Tile(tile), DeviceClass::SoftwareGpu) => (tile == TILES[SMALL]).then_some(1.0),
            // A device that runs so many workgroups at once has work for all, what lies beyond the edges included.
            (Variant::Tile(Tile { rows, cols, cost, .. }), _) => {
                Some((self.groups(rows, cols).max(caps.resident()) * rows * cols * cost) as f64)
            }
            _ => None,
        }
    }

    /// A is rounded to halves as B is stored. No run asks for that, `f16_weights` included: it stores the backbone in halves,
    /// and its fingerprint says no more.
    fn rounds(variant: Variant) -> bool {
        matches!(variant, Variant::Half(_) | Variant::Matrix(_))
    }

    fn class(&self) -> &'static str {
        self.layout.class(self.b.tensor.dtype() == DType::F16)
    }

    /// m, n, k, and the batch.
    fn size(&self) -> Vec<usize> {
        let [m, n, k] = self.mnk;
        vec![m, n, k, self.batch]
    }
}

impl Gemm<'_> {
    /// Offset and strides of A, and those of B and the result with its width, by their bits: 4 divides all that it
    /// divides together.
    pub(super) fn divisors(&self) -> [usize; 2] {
        let [a, b, out] = [&self.a, &self.b, &self.out].map(|x| x.offset | x.ld | x.batch);
        [a, b | out | self.mnk[1]]
    }

    /// Whether `gemm.wgsl` may access all matrices by quads.
    pub(super) fn aligned(&self) -> bool {
        let [m, _, k] = self.mnk;
        let [a, rest] = self.divisors();
        (a | rest | if self.layout == Layout::TN { m } else { k }).is_multiple_of(4)
    }

    /// Whether `gemm_rows.wgsl` can serve.
    fn rows_apply(&self) -> bool {
        let k = self.mnk[2];
        let [a, rest] = self.divisors();
        let a_fits = self.layout == Layout::TN || (a | k).is_multiple_of(4);
        a_fits && rest.is_multiple_of(4) && k > 0
    }

    fn groups(&self, rows: usize, cols: usize) -> usize {
        let [m, n, _] = self.mnk;
        m.div_ceil(rows) * n.div_ceil(cols) * self.batch
    }

    /// The plan of a shader like `gemm.wgsl` with the given tile, whose numbers have so many bytes in workgroup memory.
    pub(super) fn tiled(&self, shader: &'static str, tile: &Tile, bytes: usize, caps: &Caps) -> Plan {
        /// Terms of the sums there; the largest tile fills the 16 KiB that all devices have.
        const DEPTH: usize = 16;
        let &Tile { rows, cols, thread: [tm, tn], .. } = tile;
        let aligned = ("ALIGNED", Constant::Flag(self.aligned()));
        let numbers = [("BM", rows), ("BN", cols), ("BK", DEPTH), ("TM", tm), ("TN", tn)].map(number);
        let own = [aligned].into_iter().chain(numbers);
        Plan {
            shared_bytes: (bytes * DEPTH * (rows + cols)) as u32,
            ..self.with_flags(shader, own, [rows, cols], rows / tm * (cols / tn), caps)
        }
    }

    fn by_rows(&self, caps: &Caps) -> Plan {
        let (quads, rows, wg) = (4, 8, 8);
        let own = [("ROWS", rows), ("QUADS", quads)].map(number);
        self.with_flags("gemm_rows", own, [rows * wg, 4 * quads], wg, caps)
    }

    /// The flags that both shaders know, then a shader's own constants; a workgroup for each `tile` of the result.
    pub(super) fn with_flags(
        &self,
        shader: &'static str,
        own: impl IntoIterator<Item = (&'static str, Constant)>,
        tile: [usize; 2],
        workgroup: usize,
        caps: &Caps,
    ) -> Plan {
        let flags = [
            ("NT", self.layout == Layout::NT),
            ("TN", self.layout == Layout::TN),
            ("F16", self.b.tensor.dtype() == DType::F16),
            ("BIAS", self.bias.is_some()),
            ("RESIDUAL", self.residual.is_some()),
            ("PRE", self.pre.is_some()),
            ("GELU", self.activation == Activation::Gelu),
            ("QUICK", self.activation == Activation::QuickGelu),
            ("RELU", self.activation == Activation::Relu),
            ("LOWER", self.lower),
        ];
        let flags = flags.map(|(name, on)| (name, Constant::Flag(on)));
        Plan {
            shader,
            constants: flags.into_iter().chain(own).chain([number(("WG", workgroup))]).collect(),
            workgroup: workgroup as u32,
            shared_bytes: 0,
            groups: grid(self.groups(tile[0], tile[1]), caps),
        }
    }
}

pub(super) fn number((name, x): (&'static str, usize)) -> (&'static str, Constant) {
    (name, Constant::U32(x as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Choice, Device, Kernel, Tuned};
    use crate::kernels::gemm::Mat;

    fn variant(m: usize, n: usize, caps: &Caps) -> String {
        let device = Device::planner(caps.clone());
        let x = device.reals(&[1]).unwrap();
        let mat = |ld| Mat::at(&x, 0, ld);
        Gemm::of(Layout::NN, [m, n, 64], mat(64), mat(n), mat(n)).variant(caps).unwrap().to_string()
    }

    #[test]
    fn tiles_follow_the_shape_of_the_result() {
        let variant = |m, n| variant(m, n, &Caps::floor());
        assert_eq!(variant(3152, 768), "128x128");
        assert_eq!(variant(3152, 192), "64x64");
        assert_eq!(variant(1040, 192), "64x32");
        assert_eq!(variant(96, 96), "32x32");
        assert_eq!(variant(8192, 10), "64x16");
        assert_eq!(variant(10, 8192), "16x64");
    }

    #[test]
    fn a_device_that_runs_more_workgroups_at_once_takes_smaller_tiles() {
        let caps = |resident| Caps { tuned: Tuned::default().with_resident(resident), ..Caps::floor() };
        assert_eq!(variant(512, 512, &caps(16)), "128x128");
        assert_eq!(variant(512, 512, &caps(200)), "32x32");
    }

    #[test]
    fn halves_have_more_variants_where_the_device_has_the_means() {
        let gpu = Caps { f16: true, matrix: Some(16), subgroup: (32, 64), workgroup_memory: 64 << 10, ..Caps::floor() };
        let names = |caps: &Caps, dtype| {
            let device = Device::planner(caps.clone());
            let (a, b) = (device.reals(&[64, 64]).unwrap(), device.empty(&[64, 64], dtype).unwrap());
            let gemm = Gemm::new(Layout::NN, &a, &b, &a).unwrap();
            gemm.variants(caps).iter().map(|v| v.to_string()).collect::<Vec<_>>()
        };
        let all = names(&gpu, DType::F16);
        for name in ["128x128", "rows", "half 128x128", "matrix 64x64"] {
            assert!(all.iter().any(|n| n == name), "{name} is not in {all:?}");
        }
        assert_eq!(names(&gpu, DType::Real).len(), TILES.len() + 1);
        let software = Caps { class: DeviceClass::SoftwareGpu, ..gpu };
        assert_eq!(names(&software, DType::F16).len(), TILES.len() + 1);
    }

    #[test]
    fn a_table_does_not_bring_in_rounding() {
        let gpu = Caps { f16: true, matrix: Some(16), subgroup: (32, 64), workgroup_memory: 64 << 10, ..Caps::floor() };
        for (named, taken) in [("128x128", "128x128"), ("half 128x128", "32x32"), ("matrix 64x64", "32x32")] {
            let (kernel, class) = ("gemm".into(), "NN halves".into());
            let choice = Choice { kernel, class, size: vec![64, 64, 64, 1], variant: named.into() };
            let caps = Caps { tuned: Tuned::new(vec![choice]), ..gpu.clone() };
            let device = Device::planner(caps.clone());
            let (a, b) = (device.reals(&[64, 64]).unwrap(), device.empty(&[64, 64], DType::F16).unwrap());
            let gemm = Gemm::new(Layout::NN, &a, &b, &a).unwrap();
            assert!(gemm.variants(&caps).iter().any(|v| v.to_string() == named));
            assert_eq!(gemm.variant(&caps).unwrap().to_string(), taken);
        }
    }

    #[test]
    fn products_of_one_key_have_one_plan() {
        let device = Device::planner(Caps::floor());
        let x = device.reals(&[1]).unwrap();
        let gemm = |offset, ld| {
            Gemm::of(Layout::NN, [64, 64, 64], Mat::at(&x, offset, ld), Mat::at(&x, 0, 64), Mat::at(&x, 0, 64))
        };
        let plan = |gemm: &Gemm<'_>| gemm.plan(&Caps::floor()).unwrap();
        let (plain, moved, odd) = (gemm(0, 64), gemm(128, 68), gemm(1, 64));
        assert!(plain.key() == moved.key() && plan(&plain) == plan(&moved));
        let relu = Gemm { activation: Activation::Relu, ..plain };
        for other in [odd, relu, Gemm { lower: true, ..plain }, Gemm { bias: Some(plain.a), ..plain }] {
            assert!(plain.key() != other.key() && plan(&plain) != plan(&other));
        }
    }

    #[test]
    fn a_measured_variant_comes_before_the_model() {
        let choice = |variant: &str| {
            let (kernel, class) = ("gemm".into(), "NN".into());
            Tuned::new(vec![Choice { kernel, class, size: vec![3000, 800, 64, 1], variant: variant.into() }])
        };
        let caps = |variant| Caps { tuned: choice(variant), ..Caps::floor() };
        assert_eq!(variant(3152, 768, &caps("32x32")), "32x32");
        assert_eq!(variant(96, 96, &caps("64x64")), "32x32", "another size");
        assert_eq!(variant(3152, 768, &caps("7x7")), "128x128", "no such variant");
        assert_eq!(variant(3152, 770, &caps("rows")), "128x128", "a variant that cannot run it");
    }
}
