//! Barriers, subgroup and matrix operations in uniform flow only.
//!
//! Flow is uniform where all lanes of a workgroup take it together. What is followed: values by where they come from, and
//! which variables have ever taken one that differs between lanes, or any in flow that does.

use std::collections::{BTreeMap, BTreeSet};

use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, GatherMode, GlobalVariable, Handle, LocalVariable,
    Module, Statement, StorageAccess,
};

use super::{Root, name, root};

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
    values: BTreeSet<Handle<Expression>>,
    locals: BTreeSet<Handle<LocalVariable>>,
    calls: BTreeMap<Handle<Expression>, bool>,
    result: bool,
    /// Private variables of the module that differ.
    privates: BTreeSet<Handle<GlobalVariable>>,
    /// The first operation that all lanes must reach together and do not.
    broken: Option<String>,
}

pub(super) fn uniform_barriers(module: &Module, main: &Function) -> Result<(), String> {
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
        let (values, locals, calls) = Default::default();
        Self { module, function, arguments, values, locals, calls, result: false, privates, broken: None }
    }

    fn known(&self) -> ([usize; 4], bool, Vec<bool>) {
        let calls = self.calls.values().filter(|differs| **differs).count();
        ([self.values.len(), self.locals.len(), self.privates.len(), calls], self.result, self.arguments.clone())
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
                for e in range.clone() {
                    if self.made(e) {
                        self.values.insert(e);
                    }
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
            E::Literal(_) | E::Constant(_) | E::Override(_) | E::ZeroValue(_) => false,
            E::GlobalVariable(_) | E::LocalVariable(_) | E::WorkGroupUniformLoadResult { .. } => false,
            E::FunctionArgument(i) => {
                let pointer = self.module.types[self.function.arguments[i as usize].ty].inner.pointer_space().is_some();
                !pointer && self.arguments[i as usize]
            }
            E::CallResult(_) => self.calls.get(&e).copied().unwrap_or(false),
            E::AtomicResult { .. } | E::SubgroupBallotResult | E::SubgroupOperationResult { .. } => true,
            _ => self.values.contains(&e),
        }
    }

    /// The same of a value when it is made of others.
    fn made(&self, e: Handle<Expression>) -> bool {
        use Expression as E;
        let any = |of: &[Handle<Expression>]| of.iter().any(|e| self.differs(*e));
        match self.function.expressions[e] {
            E::Compose { ref components, .. } => any(components),
            E::Access { base, index } => any(&[base, index]),
            E::AccessIndex { base: of, .. } | E::Splat { value: of, .. } | E::Swizzle { vector: of, .. } => any(&[of]),
            E::Unary { expr: of, .. } | E::As { expr: of, .. } | E::Relational { argument: of, .. } => any(&[of]),
            E::Load { pointer } => self.loads(pointer),
            E::Binary { left, right, .. } => any(&[left, right]),
            E::Select { condition, accept, reject } => any(&[condition, accept, reject]),
            E::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1, arg2, arg3].into_iter().flatten().any(|e| self.differs(e))
            }
            E::ArrayLength(_) => false,
            _ => true,
        }
    }
}
