//! What WGSL's rules ask of every shader and naga 30 does not refuse:
//! - no store into a part of a vector or matrix that several lanes see, as it may touch the whole of it (gpuweb#2112);
//! - barriers, subgroup and matrix operations in uniform flow only: naga's `CONTROL_FLOW_UNIFORMITY` asks this of
//!   derivatives, and nothing of barriers.

mod faults;
mod uniformity;

use naga::valid::ModuleInfo;
use naga::{
    AddressSpace, Block, Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Statement, TypeInner,
};

pub use faults::trials;
use uniformity::uniform_barriers;

/// # Errors
/// The first rule that the module breaks, and where.
pub fn check(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    for (handle, function) in module.functions.iter() {
        whole_stores(module, function, &function.body, &|e| info[handle][e].ty.inner_with(&module.types))?;
    }
    for (i, entry) in module.entry_points.iter().enumerate() {
        let function = &entry.function;
        whole_stores(module, function, &function.body, &|e| info.get_entry_point(i)[e].ty.inner_with(&module.types))?;
        uniform_barriers(module, function)?;
    }
    Ok(())
}

fn name(function: &Function) -> &str {
    function.name.as_deref().unwrap_or("main")
}

fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

fn whole_stores<'a>(
    module: &Module,
    function: &Function,
    block: &Block,
    inner: &dyn Fn(Handle<Expression>) -> &'a TypeInner,
) -> Result<(), String> {
    for statement in block {
        if let Statement::Store { pointer, .. } = statement
            // The type of pointers to components of vectors and columns of matrices.
            && let TypeInner::ValuePointer { space: AddressSpace::WorkGroup | AddressSpace::Storage { .. }, .. } =
                inner(*pointer)
        {
            let variable = match root(function, *pointer) {
                Root::Global(global) => module.global_variables[global].name.clone().unwrap_or_default(),
                _ => "its argument".into(),
            };
            return Err(format!("`{}` stores a part of a vector of {variable}", name(function)));
        }
        for block in blocks(statement) {
            whole_stores(module, function, block, inner)?;
        }
    }
    Ok(())
}

/// The variable that a pointer points into.
enum Root {
    Global(Handle<GlobalVariable>),
    Local(Handle<LocalVariable>),
    Argument(usize),
}

fn root(function: &Function, pointer: Handle<Expression>) -> Root {
    match function.expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => root(function, base),
        Expression::GlobalVariable(global) => Root::Global(global),
        Expression::LocalVariable(local) => Root::Local(local),
        Expression::FunctionArgument(i) => Root::Argument(i as usize),
        ref other => unreachable!("a pointer made of {other:?}"),
    }
}
