//! Playbooks as a tree that can be made up at random and made smaller again. What does not fit where it stands (a
//! variable that is not there) is chosen anew by the printer, so every tree is a playbook.

use proptest::prelude::*;

/// A playbook with the world that it finds.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// What it does.
    pub statements: Vec<Statement>,
    /// What stands in the input files, and which objects and machines there are.
    pub inputs: [u8; 12],
    /// Whether something is wanted in two ways at the end.
    pub fight: bool,
    /// Which mutation something befalls.
    pub fault_at: u8,
    /// What befalls it.
    pub fault: u8,
}

/// A text.
#[derive(Debug, Clone)]
pub enum Text {
    Word(u8),
    Variable(u8),
    Read(Place),
    Query(Place),
    Address(u8),
    Object(u8),
    Item(u8),
    Field(u8),
    Join(Box<Text>, Box<Text>),
    Upper(Box<Text>),
    First(Box<Text>),
    Choice(Box<Condition>, Box<Text>, Box<Text>),
    Match(Box<Text>, Box<Text>, Box<Text>),
}

/// A file that can be read.
#[derive(Debug, Clone)]
pub struct Place {
    pub host: u8,
    pub file: u8,
}

/// Something to decide on.
#[derive(Debug, Clone)]
pub enum Condition {
    Known(bool),
    Same(Text, Text),
    Contains(Text, u8),
    Longer(Text, u8),
    Exists(Place),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// What a body gives back.
#[derive(Debug, Clone)]
pub enum Value {
    Nothing,
    Text(Text),
    Outcome(u8),
}

/// Where a function stands.
#[derive(Debug, Clone, Copy)]
pub enum Home {
    Playbook,
    Module,
    ModuleClosure,
}

/// A body of statements.
pub type Body = Vec<Statement>;

/// A statement.
#[derive(Debug, Clone)]
pub enum Statement {
    File { host: u8, content: Text, drift: u8 },
    Absent { host: u8, drift: u8 },
    Line { host: u8, fresh: bool, text: Text, drift: u8 },
    Machine { name: u8, memory: u8 },
    Object { content: Text, drift: u8, absent: bool },
    Scripted { host: u8, content: Text, drift: u8 },
    Command { host: u8, text: Text, guard: u8, declared: bool, drift: u8 },
    Token { host: u8 },
    Let(Text),
    Assign(u8, Text),
    List(Text, Text),
    Push(u8, Text),
    Map(Text, Text),
    Put(u8, Text),
    If(Condition, Body, Body),
    Switch(Text, Body, Body),
    For(u8, Body),
    While(u8, Body),
    Step { body: Body, value: Value, own_handle: bool, leaves: Option<Condition> },
    Parallel { body: Body, value: Text },
    Closure { body: Body, value: Text },
    Call(u8),
    Function { home: Home, body: Body, value: Text },
    OnChange { outcome: u8, body: Body, declared: bool },
    Wait(Condition),
    Retry { body: Body, value: Text },
    Try { body: Body, throws: Condition, rescue: Body },
    Manual(Condition),
    Fail(Condition, bool),
}

fn place() -> impl Strategy<Value = Place> {
    (0..4_u8, any::<u8>()).prop_map(|(host, file)| Place { host, file })
}

fn simple_text() -> BoxedStrategy<Text> {
    prop_oneof![
        3 => (0..6_u8).prop_map(Text::Word),
        3 => any::<u8>().prop_map(Text::Variable),
        2 => place().prop_map(Text::Read),
        1 => place().prop_map(Text::Query),
        2 => any::<u8>().prop_map(Text::Address),
        1 => (0..3_u8).prop_map(Text::Object),
        1 => any::<u8>().prop_map(Text::Item),
        1 => any::<u8>().prop_map(Text::Field),
    ]
    .boxed()
}

fn condition_over(text: BoxedStrategy<Text>) -> BoxedStrategy<Condition> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Condition::Known),
        3 => (text.clone(), text.clone()).prop_map(|(left, right)| Condition::Same(left, right)),
        3 => (text.clone(), 0..6_u8).prop_map(|(text, word)| Condition::Contains(text, word)),
        1 => (text, 0..4_u8).prop_map(|(text, length)| Condition::Longer(text, length)),
        2 => place().prop_map(Condition::Exists),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| Condition::Not(Box::new(it))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
    .boxed()
}

fn text() -> BoxedStrategy<Text> {
    let condition = condition_over(simple_text());
    simple_text()
        .prop_recursive(2, 4, 2, move |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                3 => pair.clone().prop_map(|(a, b)| Text::Join(Box::new(a), Box::new(b))),
                1 => inner.clone().prop_map(|it| Text::Upper(Box::new(it))),
                1 => inner.clone().prop_map(|it| Text::First(Box::new(it))),
                1 => (condition.clone(), pair.clone())
                    .prop_map(|(it, (a, b))| Text::Choice(Box::new(it), Box::new(a), Box::new(b))),
                1 => (inner, pair).prop_map(|(it, (a, b))| Text::Match(Box::new(it), Box::new(a), Box::new(b))),
            ]
        })
        .boxed()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Nothing),
        2 => text().prop_map(Value::Text),
        1 => any::<u8>().prop_map(Value::Outcome),
    ]
}

fn effect() -> BoxedStrategy<Statement> {
    let (host, drift) = (0..4_u8, 0..4_u8);
    let on_host = (host.clone(), text(), drift.clone());
    prop_oneof![
        5 => on_host.clone().prop_map(|(host, content, drift)| Statement::File { host, content, drift }),
        1 => (host.clone(), drift.clone()).prop_map(|(host, drift)| Statement::Absent { host, drift }),
        3 => (on_host.clone(), any::<bool>())
            .prop_map(|((host, text, drift), fresh)| Statement::Line { host, fresh, text, drift }),
        4 => (0..3_u8, 0..3_u8).prop_map(|(name, memory)| Statement::Machine { name, memory }),
        2 => (text(), drift.clone(), prop::bool::weighted(0.2))
            .prop_map(|(content, drift, absent)| Statement::Object { content, drift, absent }),
        2 => on_host.clone().prop_map(|(host, content, drift)| Statement::Scripted { host, content, drift }),
        3 => (on_host, 0..3_u8, prop::bool::weighted(0.6)).prop_map(|((host, text, drift), guard, declared)| {
            Statement::Command { host, text, guard, declared, drift }
        }),
        1 => host.prop_map(|host| Statement::Token { host }),
    ]
    .boxed()
}

fn value_statement() -> BoxedStrategy<Statement> {
    prop_oneof![
        4 => text().prop_map(Statement::Let),
        4 => (any::<u8>(), text()).prop_map(|(variable, text)| Statement::Assign(variable, text)),
        1 => (text(), text()).prop_map(|(a, b)| Statement::List(a, b)),
        1 => (any::<u8>(), text()).prop_map(|(list, text)| Statement::Push(list, text)),
        1 => (text(), text()).prop_map(|(a, b)| Statement::Map(a, b)),
        1 => (any::<u8>(), text()).prop_map(|(map, text)| Statement::Put(map, text)),
        1 => any::<u8>().prop_map(Statement::Call),
    ]
    .boxed()
}

fn statement() -> BoxedStrategy<Statement> {
    let leaf = prop_oneof![3 => effect(), 3 => value_statement()];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let body = prop::collection::vec(inner, 0..4).boxed();
        let condition = || condition_over(text());
        prop_oneof![
            3 => (condition(), body.clone(), body.clone()).prop_map(|(it, yes, no)| Statement::If(it, yes, no)),
            1 => (text(), body.clone(), body.clone()).prop_map(|(it, one, other)| Statement::Switch(it, one, other)),
            2 => (any::<u8>(), body.clone()).prop_map(|(items, body)| Statement::For(items, body)),
            1 => (1..3_u8, body.clone()).prop_map(|(times, body)| Statement::While(times, body)),
            7 => (body.clone(), value(), prop::bool::weighted(0.1), prop::option::weighted(0.15, condition()))
                .prop_map(|(body, value, own_handle, leaves)| Statement::Step { body, value, own_handle, leaves }),
            2 => (body.clone(), text()).prop_map(|(body, value)| Statement::Parallel { body, value }),
            2 => (body.clone(), text()).prop_map(|(body, value)| Statement::Closure { body, value }),
            2 => (prop_oneof![Just(Home::Playbook), Just(Home::Module), Just(Home::ModuleClosure)], body.clone(), text())
                .prop_map(|(home, body, value)| Statement::Function { home, body, value }),
            2 => (any::<u8>(), body.clone(), any::<bool>())
                .prop_map(|(outcome, body, declared)| Statement::OnChange { outcome, body, declared }),
            1 => condition().prop_map(Statement::Wait),
            1 => (body.clone(), text()).prop_map(|(body, value)| Statement::Retry { body, value }),
            2 => (body.clone(), condition(), body.clone())
                .prop_map(|(body, throws, rescue)| Statement::Try { body, throws, rescue }),
            1 => condition().prop_map(Statement::Manual),
            1 => (condition(), any::<bool>()).prop_map(|(it, blocks)| Statement::Fail(it, blocks)),
        ]
    })
    .boxed()
}

/// Playbooks of up to `length` statements.
pub fn playbooks(length: usize) -> impl Strategy<Value = Playbook> {
    let parts = (
        prop::collection::vec(statement(), 1..length),
        prop::array::uniform12(0..5_u8),
        prop::bool::weighted(0.05),
        any::<u8>(),
        0..3_u8,
    );
    parts.prop_map(|(statements, inputs, fight, fault_at, fault)| Playbook {
        statements,
        inputs,
        fight,
        fault_at,
        fault,
    })
}
