//! What WGSL's rules ask of every shader and naga 30 does not refuse:
//! - no store into a part of a vector or matrix that several lanes see, as it may touch the whole of it (gpuweb#2112);
//! - barriers, subgroup and matrix operations in uniform flow only: naga's `CONTROL_FLOW_UNIFORMITY` asks this of
//!   derivatives, and nothing of barriers.
//!
//! Flow is uniform where all lanes of a workgroup take it together. What is followed: values by where they come from, and
//! which variables have ever taken one that differs between lanes, or any in flow that does.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use minoise::device::validate;
use naga::valid::ModuleInfo;
use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, GatherMode, GlobalVariable, Handle, LocalVariable,
    Module, Statement, StorageAccess, TypeInner,
};

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

/// What lanes may do differently.
#[derive(Clone, Copy, Default, PartialEq)]
struct Exits {
    breaks: bool,
    continues: bool,
    returns: bool,
}

impl Exits {
    fn any(self) -> bool {
        self.breaks || self.continues || self.returns
    }

    fn or(self, other: Self) -> Self {
        Self {
            breaks: self.breaks || other.breaks,
            continues: self.continues || other.continues,
            returns: self.returns || other.returns,
        }
    }
}

/// One call of a function. Sets only grow, so that repeating a walk until nothing changes ends.
struct Call<'a> {
    module: &'a Module,
    function: &'a Function,
    /// Whether arguments differ between lanes; of pointers, what they point to.
    arguments: Vec<bool>,
    locals: BTreeSet<Handle<LocalVariable>>,
    calls: BTreeMap<Handle<Expression>, bool>,
    result: bool,
    /// Private variables of the module that differ.
    privates: BTreeSet<Handle<GlobalVariable>>,
    /// The first operation that all lanes must reach together and do not.
    broken: Option<String>,
}

fn uniform_barriers(module: &Module, main: &Function) -> Result<(), String> {
    let differs = |binding: &Option<Binding>| {
        let same = [BuiltIn::WorkGroupId, BuiltIn::NumWorkGroups, BuiltIn::WorkGroupSize];
        !matches!(binding, Some(Binding::BuiltIn(of)) if same.contains(of))
    };
    let arguments = main.arguments.iter().map(|argument| differs(&argument.binding)).collect();
    let mut call = Call::of(module, main, arguments, BTreeSet::new());
    call.run(false);
    call.broken.map_or(Ok(()), Err)
}

impl<'a> Call<'a> {
    fn of(
        module: &'a Module,
        function: &'a Function,
        arguments: Vec<bool>,
        privates: BTreeSet<Handle<GlobalVariable>>,
    ) -> Self {
        let (locals, calls) = Default::default();
        Self { module, function, arguments, locals, calls, result: false, privates, broken: None }
    }

    fn known(&self) -> (usize, usize, usize, bool, Vec<bool>) {
        let calls = self.calls.values().filter(|differs| **differs).count();
        (self.locals.len(), self.privates.len(), calls, self.result, self.arguments.clone())
    }

    fn run(&mut self, flow: bool) {
        self.settle(|call| call.block(&call.function.body, flow));
    }

    fn settle<T>(&mut self, mut walk: impl FnMut(&mut Self) -> T) -> T {
        loop {
            let before = self.known();
            let result = walk(self);
            if self.known() == before {
                return result;
            }
        }
    }

    /// Walks a block in flow that differs between lanes or not.
    fn block(&mut self, block: &'a Block, mut flow: bool) -> Exits {
        let outside = flow;
        let mut exits = Exits::default();
        for statement in block {
            exits = exits.or(self.statement(statement, flow));
            flow = outside || exits.any();
        }
        exits
    }

    fn statement(&mut self, statement: &'a Statement, flow: bool) -> Exits {
        match statement {
            Statement::Emit(range) => {
                let matrix = |e| {
                    let e = &self.function.expressions[e];
                    matches!(e, Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. })
                };
                if range.clone().any(matrix) {
                    self.together("a matrix operation", flow);
                }
            }
            Statement::Block(block) => return self.block(block, flow),
            Statement::If { condition, accept, reject } => {
                let flow = flow || self.differs(*condition);
                return self.block(accept, flow).or(self.block(reject, flow));
            }
            Statement::Switch { selector, cases } => {
                let flow = flow || self.differs(*selector);
                let all = cases.iter().map(|case| self.block(&case.body, flow)).fold(Exits::default(), Exits::or);
                // A break leaves the switch only.
                return Exits { breaks: false, ..all };
            }
            Statement::Loop { body, continuing, break_if } => {
                // Once lanes may have left, what repeats is not reached by all.
                let mut left = false;
                let exits = loop {
                    let exits = self.settle(|call| {
                        let inside = call.block(body, flow || left);
                        let after = call.block(continuing, flow || left || inside.breaks || inside.returns);
                        inside.or(after)
                    });
                    let ends = exits.breaks || exits.returns || break_if.is_some_and(|e| self.differs(e));
                    if ends == left {
                        break exits;
                    }
                    left = ends;
                };
                return Exits { returns: exits.returns, ..Exits::default() };
            }
            Statement::Break => return Exits { breaks: flow, ..Exits::default() },
            Statement::Continue => return Exits { continues: flow, ..Exits::default() },
            Statement::Return { value } => {
                self.result |= value.is_some_and(|e| flow || self.differs(e));
                return Exits { returns: flow, ..Exits::default() };
            }
            Statement::Kill => return Exits { returns: flow, ..Exits::default() },
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => self.together("a barrier", flow),
            Statement::WorkGroupUniformLoad { .. } => self.together("a uniform load", flow),
            Statement::CooperativeStore { .. } => self.together("a matrix operation", flow),
            Statement::SubgroupBallot { .. } | Statement::SubgroupCollectiveOperation { .. } => {
                self.together("a subgroup operation", flow);
            }
            Statement::SubgroupGather { mode, .. } => {
                self.together("a subgroup operation", flow);
                // Other modes take any lane's index.
                if let GatherMode::Broadcast(lane) = mode
                    && self.differs(*lane)
                {
                    self.together("a broadcast from one lane", true);
                }
            }
            Statement::Store { pointer, value } => {
                if flow || self.differs(*pointer) || self.differs(*value) {
                    self.spoil(*pointer);
                }
            }
            // Lanes see what others made of it.
            Statement::Atomic { pointer, .. } => self.spoil(*pointer),
            Statement::Call { function, arguments, result } => self.call(*function, arguments, *result, flow),
            other => panic!("a kernel with {other:?}"),
        }
        Exits::default()
    }

    fn together(&mut self, what: &str, flow: bool) {
        if flow {
            let text = || format!("`{}` has {what} that not all lanes reach together", name(self.function));
            self.broken.get_or_insert_with(text);
        }
    }

    fn call(
        &mut self,
        function: Handle<Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
        flow: bool,
    ) {
        let callee = &self.module.functions[function];
        let pointer = |i: usize| self.module.types[callee.arguments[i].ty].inner.pointer_space().is_some();
        let differ =
            arguments.iter().enumerate().map(|(i, e)| if pointer(i) { self.loads(*e) } else { self.differs(*e) });
        let mut call = Call::of(self.module, callee, differ.collect(), std::mem::take(&mut self.privates));
        call.run(flow);
        for (i, e) in arguments.iter().enumerate() {
            if pointer(i) && call.arguments[i] {
                self.spoil(*e);
            }
        }
        self.privates = call.privates;
        self.broken = self.broken.take().or(call.broken);
        if let Some(result) = result {
            *self.calls.entry(result).or_default() |= call.result;
        }
    }

    /// Marks the variable behind a pointer: what it holds differs between lanes.
    fn spoil(&mut self, pointer: Handle<Expression>) {
        match root(self.function, pointer) {
            Root::Local(local) => drop(self.locals.insert(local)),
            Root::Argument(i) => self.arguments[i] = true,
            Root::Global(global) => drop(self.privates.insert(global)),
        }
    }

    /// Whether what is loaded from a pointer differs.
    fn loads(&self, pointer: Handle<Expression>) -> bool {
        self.differs(pointer)
            || match root(self.function, pointer) {
                Root::Local(local) => self.locals.contains(&local),
                Root::Argument(i) => self.arguments[i],
                Root::Global(global) => match self.module.global_variables[global].space {
                    AddressSpace::Uniform => false,
                    AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                    AddressSpace::Private => self.privates.contains(&global),
                    _ => true,
                },
            }
    }

    /// Whether a value differs between lanes; of a pointer, whether it points to different places.
    fn differs(&self, e: Handle<Expression>) -> bool {
        use Expression as E;
        match self.function.expressions[e] {
            E::Literal(_) | E::Constant(_) | E::Override(_) | E::ZeroValue(_) | E::ArrayLength(_) => false,
            E::GlobalVariable(_) | E::LocalVariable(_) | E::WorkGroupUniformLoadResult { .. } => false,
            E::FunctionArgument(i) => {
                let pointer = self.module.types[self.function.arguments[i as usize].ty].inner.pointer_space().is_some();
                !pointer && self.arguments[i as usize]
            }
            E::Compose { ref components, .. } => components.iter().any(|e| self.differs(*e)),
            E::Access { base, index } => self.differs(base) || self.differs(index),
            E::AccessIndex { base, .. } => self.differs(base),
            E::Splat { value, .. } => self.differs(value),
            E::Swizzle { vector, .. } => self.differs(vector),
            E::Load { pointer } => self.loads(pointer),
            E::Unary { expr, .. } | E::As { expr, .. } => self.differs(expr),
            E::Binary { left, right, .. } => self.differs(left) || self.differs(right),
            E::Select { condition, accept, reject } => [condition, accept, reject].iter().any(|e| self.differs(*e)),
            E::Relational { argument, .. } => self.differs(argument),
            E::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1, arg2, arg3].into_iter().flatten().any(|e| self.differs(e))
            }
            E::CallResult(_) => self.calls.get(&e).copied().unwrap_or(false),
            _ => true,
        }
    }
}

/// Shaders that break a rule, each with what is said of it, and shaders close to them that break none.
const FAULTS: &[(&str, &str, &str)] = &[
    ("a component in workgroup memory", "quads[lane][lane % 4u] = 1.0;", "a part of a vector of quads"),
    ("a named component in workgroup memory", "quads[lane].y = 1.0;", "a part of a vector of quads"),
    ("a component in storage memory", "out[lane].x += 1.0;", "a part of a vector of out"),
    ("a column of a matrix", "square[1] = vec4<f32>(1.0);", "a part of a vector of square"),
    ("a component behind a pointer", "let p = &quads[lane]; (*p)[2] = 1.0;", "a part of a vector of quads"),
    ("a component in a function", "component(lane);", "`component` stores"),
    ("a barrier behind a lane's index", "if lane < 4u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind an early return", "if lane > 3u { return; } workgroupBarrier();", "a barrier"),
    ("a barrier in a lane's loop", "for (var i = lane; i < 9u; i++) { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a lane's break", "loop { workgroupBarrier(); if lane > 3u { break; } }", "a barrier"),
    (
        "a barrier behind a continue",
        "for (var i = 0u; i < 4u; i++) { if lane == i { continue; } workgroupBarrier(); }",
        "a barrier",
    ),
    ("a barrier behind a stored number", "if quads[0].x > 0.0 { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind written storage", "if out[0].x > 0.0 { workgroupBarrier(); }", "a barrier"),
    (
        "a barrier behind a variable",
        "var n = 0u; if lane == 0u { n = 1u; } if n > 0u { workgroupBarrier(); }",
        "a barrier",
    ),
    ("a barrier behind a private variable", "own = lane; if own > 0u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a pointer", "var n = 0u; put(&n, lane); if n > 0u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a function's result", "if early(lane) > 0u { workgroupBarrier(); }", "a barrier"),
    (
        "a barrier behind what a loop carries",
        "var a = 0u; var b = 0u; for (var i = 0u; i < 3u; i++) { if b > 0u { workgroupBarrier(); } b = a; a = lane; }",
        "a barrier",
    ),
    ("a function's barrier", "if lane < 4u { wait(); }", "`wait` has a barrier"),
    ("a shuffle behind a lane's index", "if lane < 4u { own = subgroupShuffle(lane, 0u); }", "a subgroup operation"),
    ("", "quads[lane] = vec4<f32>(1.0); out[lane] = quads[0]; numbers[lane] = 1.0;", ""),
    ("", "var x: vec4<f32>; x[lane % 4u] = 1.0; out[lane] = x; wait(); own = subgroupShuffle(lane, 0u);", ""),
    ("", "if group.x > params || params > 3u { return; } for (var i = 0u; i < params; i++) { wait(); }", ""),
    ("", "for (var i = lane; i < 9u; i++) { if i == 4u { break; } own = i; } if given[group.x] > 0u { wait(); }", ""),
    (
        "",
        "var n = 0u; put(&n, params); if n > early(group.x) { wait(); } if lane < 4u { own = early(lane); } wait();",
        "",
    ),
];

fn shader(body: &str) -> String {
    let component = if body.contains("component") { "fn component(lane: u32) { quads[lane].x = 1.0; }" } else { "" };
    format!(
        "@group(0) @binding(0) var<uniform> params: u32;
        @group(0) @binding(1) var<storage, read> given: array<u32>;
        @group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
        var<workgroup> quads: array<vec4<f32>, 64>;
        var<workgroup> numbers: array<f32, 64>;
        var<workgroup> square: mat4x4<f32>;
        var<private> own: u32;
        {component}
        fn wait() {{ workgroupBarrier(); }}
        fn put(n: ptr<function, u32>, x: u32) {{ *n = x; }}
        fn early(x: u32) -> u32 {{ if x > 3u {{ return 1u; }} return 0u; }}
        @compute @workgroup_size(64)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{ {body} }}"
    )
}

pub fn trials() -> Vec<Trial> {
    let trial = |&(fault, body, said): &(&'static str, &'static str, &'static str)| {
        let what = if fault.is_empty() { format!("accepted: {body}") } else { format!("refused: {fault}") };
        Trial::test(format!("house: soundness, {what}"), move || judged(body, said))
    };
    FAULTS.iter().map(trial).collect()
}

fn judged(body: &str, said: &str) -> Result<(), Failed> {
    let module = validate("a fault", &shader(body)).map_err(|e| e.to_string())?;
    let flags = naga::valid::ValidationFlags::all();
    let info = naga::valid::Validator::new(flags, minoise::device::capabilities()).validate(&module)?;
    match check(&module, &info) {
        Ok(()) if said.is_empty() => Ok(()),
        Err(message) if !said.is_empty() && message.contains(said) => Ok(()),
        other => Err(format!("{other:?}, not {said:?}").into()),
    }
}
