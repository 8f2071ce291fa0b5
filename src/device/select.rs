//! Which device: listing the adapters of every backend and choosing one.

use serde::Serialize;

use super::{Caps, DeviceClass};
use crate::{Error, Result, host};

/// One adapter as `minoise info` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterReport {
    /// `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub backend: String,
    /// What the driver calls the adapter.
    pub name: String,
    /// Name and version of the driver, as far as it tells them.
    pub driver: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` (a software driver) or `Other`.
    pub kind: String,
    /// What it can do, before it is opened and without measured choices.
    pub caps: Caps,
}

impl AdapterReport {
    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let driver = format!("{} {}", info.driver, info.driver_info);
        Self {
            backend: info.backend.to_str().into(),
            name: info.name,
            driver: driver.trim().into(),
            kind: format!("{:?}", info.device_type),
            caps: Caps::of(adapter),
        }
    }

    /// Backend, name and driver in one line.
    pub fn label(&self) -> String {
        format!("{} {} ({})", self.backend, self.name, self.driver)
    }

    fn rank(&self) -> u8 {
        match self.kind.as_str() {
            "DiscreteGpu" => 0,
            "IntegratedGpu" => 1,
            "VirtualGpu" => 2,
            "Other" => 3,
            _ => 4,
        }
    }

    /// Every word of `wanted` occurs in the label, whatever the case.
    fn matches(&self, wanted: &str) -> bool {
        let label = self.label().to_lowercase();
        wanted.to_lowercase().split_whitespace().all(|word| label.contains(word))
    }
}

/// What `--device` or `MINOISE_DEVICE` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A real GPU (discrete, then integrated), else the CPU device.
    Auto,
    /// The host's cores.
    Cpu,
    /// A real GPU, or an error.
    Gpu,
    /// The first adapter whose backend, name and driver contain these words; software drivers are taken only so.
    Named(String),
}

impl From<&str> for Selector {
    fn from(text: &str) -> Self {
        match text.trim().to_lowercase().as_str() {
            "" | "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            _ => Self::Named(text.trim().into()),
        }
    }
}

impl Selector {
    /// Backends to look at: GL is slower and poorer than the others, and is taken only when named.
    pub(super) fn backends(&self) -> wgpu::Backends {
        match self {
            Self::Named(_) => wgpu::Backends::all(),
            _ => wgpu::Backends::all() - wgpu::Backends::GL,
        }
    }

    /// `--device` if given, else `MINOISE_DEVICE`, else auto.
    pub fn from_flag_or_env(flag: Option<&str>) -> Self {
        let env = host::variable("MINOISE_DEVICE");
        Self::from(flag.or(env.as_deref()).unwrap_or("auto"))
    }

    /// Index of the adapter to take (`None`: the CPU device) and the reason in words.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] with the list of what there is.
    pub fn choose(&self, adapters: &[AdapterReport]) -> Result<(Option<usize>, String)> {
        let best = || {
            (0..adapters.len())
                .filter(|&i| adapters[i].caps.class == DeviceClass::Gpu && adapters[i].backend != "gl")
                .min_by_key(|&i| (adapters[i].rank(), i))
        };
        let unknown = |wanted: &str| {
            let mut names: Vec<_> = adapters.iter().map(AdapterReport::label).collect();
            names.insert(0, "cpu".into());
            Error::UnknownDevice { wanted: wanted.into(), available: names.join("; ") }
        };
        match self {
            Self::Cpu => Ok((None, "asked for".into())),
            Self::Auto => Ok(match best() {
                Some(i) => (Some(i), format!("the first {} of the list", adapters[i].kind)),
                None if adapters.is_empty() => (None, "no GPU adapter was found".into()),
                None => (None, "only software adapters were found; name one to use it".into()),
            }),
            Self::Gpu => best().map(|i| (Some(i), "asked for a GPU".into())).ok_or_else(|| unknown("gpu")),
            Self::Named(wanted) => (0..adapters.len())
                .find(|&i| adapters[i].matches(wanted))
                .map(|i| (Some(i), format!("matches `{wanted}`")))
                .ok_or_else(|| unknown(wanted)),
        }
    }
}

pub(super) fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // DXC where a `dxcompiler.dll` is on the path, else FXC, which every Windows has: it knows shader model 5.1, so that the
    // adapter offers neither f16 arithmetic nor subgroups nor cooperative matrices, and the portable kernels run. FXC takes
    // seconds to compile a large unrolled tile.
    descriptor.backend_options.dx12.shader_compiler = wgpu::Dx12Compiler::Auto;
    if !super::checked() {
        descriptor.flags = wgpu::InstanceFlags::empty();
    }
    wgpu::Instance::new(descriptor)
}

/// All adapters of `backends`, Vulkan, Metal and DX12 before GL.
pub(super) async fn enumerate(instance: &wgpu::Instance, backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.sort_by_key(|a| a.get_info().backend == wgpu::Backend::Gl);
    adapters
}

/// Every adapter of every backend on this machine.
pub async fn adapters() -> Vec<AdapterReport> {
    enumerate(&instance(), wgpu::Backends::all()).await.iter().map(AdapterReport::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: &str, name: &str, class: DeviceClass) -> AdapterReport {
        let caps = Caps { class, ..Caps::floor() };
        AdapterReport { backend: "vulkan".into(), name: name.into(), driver: "drv 1".into(), kind: kind.into(), caps }
    }

    #[test]
    fn auto_takes_discrete_then_integrated_never_software() {
        let soft = report("Cpu", "llvmpipe", DeviceClass::SoftwareGpu);
        let integrated = report("IntegratedGpu", "Iris", DeviceClass::Gpu);
        let discrete = report("DiscreteGpu", "Navi", DeviceClass::Gpu);
        let pick = |s: &str, list: &[AdapterReport]| Selector::from(s).choose(list).map(|c| c.0);
        assert_eq!(pick("auto", &[soft.clone(), integrated.clone(), discrete.clone()]).unwrap(), Some(2));
        assert_eq!(pick("auto", &[soft.clone(), integrated.clone()]).unwrap(), Some(1));
        assert_eq!(pick("auto", std::slice::from_ref(&soft)).unwrap(), None);
        assert_eq!(pick("vulkan LLVM", std::slice::from_ref(&soft)).unwrap(), Some(0));
        assert!(matches!(pick("gpu", std::slice::from_ref(&soft)), Err(Error::UnknownDevice { .. })));
        assert!(pick("voodoo", &[soft, discrete]).unwrap_err().to_string().contains("Navi"));
        assert_eq!(pick("cpu", &[integrated]).unwrap(), None);
    }
}
