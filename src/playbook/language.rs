//! The script language itself: its own functions without the clock, and its limits.

use rhai::packages::{
    BasicArrayPackage, BasicBlobPackage, BasicMapPackage, BasicMathPackage, BitFieldPackage, CorePackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{Engine, OptimizationLevel, def_package};

def_package! {
    /// The language's own functions. A clock is left out: a dry run could not tell the truth about it.
    pub LanguagePackage(lib): CorePackage, BitFieldPackage, LogicPackage, BasicMathPackage, BasicArrayPackage,
        BasicBlobPackage, BasicMapPackage, MoreStringPackage
    {}
}

/// Deep enough for any playbook, shallow enough that an endless recursion ends in an error.
const CALL_LEVELS: usize = 64;
const EXPRESSION_DEPTH: usize = 256;
const TEXT_BYTES: usize = 64 << 20;
const ITEMS: usize = 1 << 20;
const INTERNED_TEXTS: usize = 1024;

/// An engine that knows the language and nothing of ours.
pub(super) fn engine() -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(LanguagePackage::new().as_shared_module());
    engine
        .set_max_strings_interned(INTERNED_TEXTS)
        // Other levels erase the places of map keys, and panic on some scripts.
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        // The quick way for operators forgets where it was when it fails: a division by zero would have no place.
        .set_fast_operators(false)
        .set_max_operations(0)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH)
        .set_max_string_size(TEXT_BYTES)
        .set_max_array_size(ITEMS)
        .set_max_map_size(ITEMS);
    // What it runs cannot be checked beforehand.
    engine.disable_symbol("eval");
    engine
}
