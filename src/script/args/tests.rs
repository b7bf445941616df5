//! What a wrong option reads like, and what options may hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rhai::{Engine, EvalAltResult, NativeCallContext, OptimizationLevel};
use serde::Deserialize;

use super::*;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::Value;

/// A virtual machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VmOptions {
    /// The name of the VM, as the cluster shows it.
    name: String,
    /// Memory: MiB, or a text with a unit.
    #[serde(default = "two_gib")]
    memory: Size,
    /// Virtual CPU cores.
    #[serde(default)]
    cores: Option<u16>,
    /// What the disk is for.
    #[serde(default)]
    disks: Vec<Disk>,
    /// The address, where it is fixed.
    address: Option<Maybe<String>>,
    /// The password of the first user.
    password: Option<Maybe<TextOrSecret>>,
    /// How the VM boots.
    bios: Option<Bios>,
    /// Anything else for the API.
    #[serde(default)]
    raw: BTreeMap<String, Value>,
    /// Tags.
    tags: Option<OneOrMany>,
    /// Runs when it is up.
    then: Option<Closure>,
    /// The host it stands on.
    host: Option<Opaque>,
}

fn two_gib() -> Size {
    Size::from_mib(2048)
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disk {
    /// How large it is.
    size: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Bios {
    Seabios,
    Ovmf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(Maybe<String>),
    Many(Vec<Maybe<String>>),
}

#[derive(Clone)]
struct Host(u8);

fn run(script: &str) -> Result<VmOptions> {
    let places = Places::default();
    let outcome: Arc<Mutex<Option<Result<VmOptions>>>> = Arc::default();
    let mut engine = Engine::new();
    engine.set_optimization_level(OptimizationLevel::None);
    let (seen, kept) = (places.clone(), outcome.clone());
    engine.register_fn("vm", move |context: NativeCallContext, map: Map| {
        let parsed = parse(&seen, context.call_source(), context.call_position(), "vm", map);
        *kept.lock().unwrap() = Some(parsed);
    });
    engine.register_fn("unknown", || Unknown::from_origin("pve:vm:1.ip"));
    engine.register_fn("secret", || Secret::new("hunter2"));
    engine.register_fn("host", || Host(7));
    let mut ast = engine.compile(script).unwrap();
    ast.set_source("phase3.rhai");
    places.insert("phase3.rhai", script, ast.clone());
    engine.run_ast(&ast).unwrap_or_else(|error: Box<EvalAltResult>| panic!("{error}"));
    outcome.lock().unwrap().take().unwrap()
}

/// The error with what it points at, as a newcomer would meet it.
fn mistake(script: &str) -> String {
    let error = run(script).unwrap_err();
    assert_eq!(error.class(), Class::Script);
    let mut lines = vec![error.message().to_owned()];
    for label in error.labels() {
        let line = label.text[..label.span.start].lines().count().max(1);
        lines.push(format!("  line {line}: {} <- {}", &label.text[label.span.clone()], label.note));
    }
    lines.extend(error.help_text().map(|help| format!("  help: {help}")));
    lines.join("\n")
}

#[test]
fn an_unknown_option_is_pointed_at_and_the_likely_one_named() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\",\n  memroy: 5 });"), @"
    `vm`: unknown option `memroy`; did you mean `memory`?
      line 2: memroy <- no such option
      help: there are: name, memory, cores, disks, address, password, bios, raw, tags, then, host
    ");
}

#[test]
fn an_unknown_option_inside_a_list_is_pointed_at() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", disks: [#{ size: 1 }, #{ size: 2, sdd: true }] });"), @"
    `vm`: unknown option `disks[1].sdd`
      line 1: sdd <- no such option
      help: there are: size
    ");
}

#[test]
fn a_missing_option_points_at_the_call_and_says_what_it_is() {
    insta::assert_snapshot!(mistake("vm(#{ cores: 1 });"), @"
    `vm`: option `name` is missing
      line 1: vm <- needs `name`
      help: `name` (a text): The name of the VM, as the cluster shows it
    ");
}

#[test]
fn a_missing_option_of_a_list_element_points_at_the_element() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", disks: [#{}] });"), @r#"
    `vm`: option `disks[0].size` is missing
      line 1: #{} <- needs `disks[0].size`
      help: `size` (a size: MiB, or a text such as "8GiB"): How large it is
    "#);
}

#[test]
fn a_wrong_type_points_at_the_value() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", cores: \"four\" });"), @r#"
    `vm`: option `cores` wants an integer from 0 to 65535, got the text "four"
      line 1: "four" <- wants an integer from 0 to 65535
      help: `cores` (an integer from 0 to 65535): Virtual CPU cores
    "#);
}

#[test]
fn a_number_out_of_range_says_the_range() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", cores: -1 });"), @"
    `vm`: option `cores` wants an integer from 0 to 65535, and -1 is out of range
      line 1: -1 <- wants an integer from 0 to 65535
      help: `cores` (an integer from 0 to 65535): Virtual CPU cores
    ");
}

#[test]
fn a_size_that_is_none_says_how_to_write_it() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", memory: \"8GB\" });"), @r#"
    `vm`: option `memory`: "8GB" counts in thousands; sizes here count in 1024s: write "8GiB"
      line 1: "8GB" <- this value
      help: `memory` (a size: MiB, or a text such as "8GiB"): Memory: MiB, or a text with a unit
    "#);
}

#[test]
fn a_word_that_is_not_possible_lists_those_that_are() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", bios: \"omvf\" });"), @r#"
    `vm`: option `bios` cannot be "omvf"; did you mean "ovmf"?
      line 1: "omvf" <- not one of the possible values
      help: `bios` is one of "seabios", "ovmf"
    "#);
}

#[test]
fn an_unknown_where_a_known_value_must_be_says_so() {
    insta::assert_snapshot!(mistake("vm(#{ name: unknown() });"), @"
    `vm`: option `name` must be known now, but pve:vm:1.ip will only be known after apply
      line 1: unknown <- not known yet
      help: `name` (a text): The name of the VM, as the cluster shows it
    ");
}

#[test]
fn an_unknown_where_a_known_value_must_be_defers_a_dry_run() {
    deferral::set_mode(Mode::DryRun);
    run("vm(#{ name: \"a\", memory: unknown() });").unwrap_err();
    deferral::set_mode(Mode::Run);
    let deferral = deferral::take().unwrap();
    assert_eq!((deferral.doing.as_str(), deferral.needs.origin()), ("option `memory` of `vm`", "pve:vm:1.ip".into()));
}

#[test]
fn a_secret_where_it_would_show_is_refused_without_showing_it() {
    let message = mistake("vm(#{ name: secret() });");
    assert!(!message.contains("hunter2"));
    insta::assert_snapshot!(message, @"
    `vm`: option `name` does not take a secret: its value shows in diffs and logs
      line 1: secret <- a secret
      help: `name` (a text): The name of the VM, as the cluster shows it
    ");
}

#[test]
fn options_take_unknowns_secrets_closures_handles_and_free_data() {
    let vm = run(r#"
        let captured = 5;
        let f = || captured;
        vm(#{
            name: "a", memory: "8GiB", cores: captured, disks: [#{ size: 10 }], bios: "ovmf",
            address: unknown(), password: secret(), then: f, host: host(),
            raw: #{ a: [1, secret(), #{ b: unknown() }], c: 1.5 },
        });
    "#)
    .unwrap();
    let unknown = Unknown::from_origin("pve:vm:1.ip");
    assert_eq!(vm.name, "a");
    assert_eq!((vm.memory, vm.cores, vm.bios), (Size::from_mib(8192), Some(5), Some(Bios::Ovmf)));
    assert_eq!(vm.disks[0].size.mib(), 10);
    assert_eq!(vm.address, Some(Maybe::Unknown(unknown.clone())));
    assert_eq!(vm.password, Some(Maybe::Known(TextOrSecret::Secret(Secret::new("hunter2")))));
    assert!(vm.then.is_some());
    assert_eq!(vm.host.unwrap().0.cast::<Host>().0, 7);
    let inner = Value::Map([("b".to_owned(), Value::Unknown(unknown))].into());
    assert_eq!(vm.raw["a"], Value::List(vec![Value::Int(1), Value::Secret(Secret::new("hunter2")), inner]));
    assert_eq!(vm.raw["c"], Value::Float(1.5));
}

#[test]
fn special_values_survive_untagged_choices() {
    let tags = |script: &str| run(script).unwrap().tags.unwrap();
    let unknown = Maybe::Unknown(Unknown::from_origin("pve:vm:1.ip"));
    assert!(matches!(tags("vm(#{ name: \"a\", tags: \"x\" });"), OneOrMany::One(Maybe::Known(text)) if text == "x"));
    assert!(matches!(tags("vm(#{ name: \"a\", tags: unknown() });"), OneOrMany::One(one) if one == unknown));
    assert!(matches!(tags("vm(#{ name: \"a\", tags: [unknown()] });"), OneOrMany::Many(many) if many == [unknown]));
}

#[test]
fn a_closure_is_not_taken_for_anything_else() {
    insta::assert_snapshot!(mistake("vm(#{ name: \"a\", then: 5 });"), @"
    `vm`: option `then` wants a closure, got 5
      line 1: 5 <- wants a closure
      help: `then` (a closure): Runs when it is up
    ");
}
