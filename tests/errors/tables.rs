//! Tables of `docs/*.md` that are misshapen, or do not hold what phase 3 needs.

use super::{homelab, in_homelab, phase3, replace};

const SOFTWARE: &str = "docs/SOFTWARE.md";
const NETWORK: &str = "docs/NETWORK.md";

/// The row of a machine, up to its role.
const SECOND: &str =
    "| (k3s-cp-02)       | 112   | pve-02 | server   | 4     | 8192      | 50      | 10.20.11.32   | –          |";

/// Runs phase 3 with one text of the tables replaced.
fn with(file: &str, from: &str, to: &str, code: i32, place: &str) -> String {
    phase3(|project| replace(project, file, from, to), code, place)
}

#[test]
fn a_row_with_too_few_cells() {
    let short = SECOND.trim_end_matches(" –          |");
    insta::assert_snapshot!(with(SOFTWARE, SECOND, short, 1, "docs/SOFTWARE.md:35"));
}

#[test]
fn two_rows_with_one_key() {
    insta::assert_snapshot!(with(
        SOFTWARE,
        "| (k3s-cp-03)       | 113",
        "| (k3s-cp-02)       | 113",
        1,
        "docs/SOFTWARE.md:36"
    ));
}

#[test]
fn a_cell_that_is_merged_with_the_one_before() {
    insta::assert_snapshot!(with(SOFTWARE, SECOND, &SECOND.replace("| server   |", "||"), 1, "docs/SOFTWARE.md:35"));
}

#[test]
fn a_cell_that_is_merged_with_the_one_above() {
    insta::assert_snapshot!(with(SOFTWARE, SECOND, &SECOND.replace("pve-02", "^^    "), 1, "docs/SOFTWARE.md:35"));
}

#[test]
fn a_table_that_is_written_in_html() {
    let html = "## pools\n\n<table>\n<tr><td rowspan=\"2\">metallb</td></tr>\n</table>\n\n## old pools\n";
    insta::assert_snapshot!(with(NETWORK, "## pools\n", html, 1, "docs/NETWORK.md:"));
}

#[test]
fn a_cell_that_is_not_given() {
    insta::assert_snapshot!(with(
        SOFTWARE,
        "| local-zfs       | where",
        "| not given       | where",
        1,
        "docs/SOFTWARE.md:"
    ));
}

#[test]
fn a_number_with_a_unit_in_a_column_of_numbers() {
    insta::assert_snapshot!(with(SOFTWARE, SECOND, &SECOND.replace("8192 ", "8 GB "), 1, "docs/SOFTWARE.md:35:59"));
}

#[test]
fn an_address_that_is_none() {
    insta::assert_snapshot!(with(SOFTWARE, "10.20.11.33", "10.20.11.333", 1, "docs/SOFTWARE.md:36"));
}

#[test]
fn a_name_that_no_host_may_have() {
    insta::assert_snapshot!(with(SOFTWARE, "| (k3s-cp-02) ", "| (k3s_cp_02) ", 1, "docs/SOFTWARE.md:35"));
}

#[test]
fn a_column_with_another_name() {
    insta::assert_snapshot!(with(
        SOFTWARE,
        "| memory_mb | disk_gb",
        "| memory_mib | disk_gb",
        1,
        "docs/SOFTWARE.md:31"
    ));
}

#[test]
fn a_typo_in_a_role() {
    insta::assert_snapshot!(with(
        SOFTWARE,
        SECOND,
        &SECOND.replace("server", "serevr"),
        4,
        "docs/SOFTWARE.md, table vms"
    ));
}

#[test]
fn a_machine_without_an_address() {
    insta::assert_snapshot!(with(SOFTWARE, "10.20.11.33", "–", 4, "docs/SOFTWARE.md, table vms"));
}

#[test]
fn a_node_that_there_is_not() {
    insta::assert_snapshot!(with(SOFTWARE, "| 113   | pve-03", "| 113   | pve-04", 4, "docs/SOFTWARE.md, table vms"));
}

#[test]
fn more_memory_than_a_node_has() {
    insta::assert_snapshot!(with(
        SOFTWARE,
        SECOND,
        &SECOND.replace("8192 ", "98304"),
        4,
        "docs/SOFTWARE.md, table vms"
    ));
}

#[test]
fn a_graphics_card_that_is_in_another_node() {
    let there = "| k3s-gpu-01        | (121) | pve-01";
    insta::assert_snapshot!(with(
        SOFTWARE,
        there,
        &there.replace("01 ", "02 ").replace("pve-01", "pve-02"),
        4,
        "docs/SOFTWARE.md, table vms"
    ));
}

#[test]
fn two_servers_without_a_majority_to_spare() {
    let first = "| (k3s-cp-01)       | 111   | pve-01 | server   | 2     | 4096      | 30      | 10.20.11.31   | –          |\n";
    insta::assert_snapshot!(with(SOFTWARE, first, "", 4, "2 servers"));
}

#[test]
fn a_file_of_tables_that_is_not_there() {
    let gone = |project: &crate::project::Project| {
        std::fs::remove_file(project.root().join(NETWORK)).expect("it was there");
    };
    insta::assert_snapshot!(phase3(gone, 1, "docs/NETWORK.md"));
}

#[test]
fn a_typo_in_a_table() {
    insta::assert_snapshot!(in_homelab(&homelab(), "docs::table(\"SOFTWARE.md\", \"vmz\");\n", 1));
}

#[test]
fn a_typo_in_a_file_of_tables() {
    insta::assert_snapshot!(in_homelab(&homelab(), "docs::table(\"SOFTWAER.md\", \"vms\");\n", 1));
}

#[test]
fn a_row_that_a_table_does_not_have() {
    let playbook = "let machine = docs::row(\"SOFTWARE.md\", \"vms\", \"k3s-cp-9\");\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}

#[test]
fn a_setting_that_a_table_does_not_have() {
    let playbook = "let vmid = docs::setting(\"SOFTWARE.md\", \"cluster\", \"template_vmdi\");\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}

#[test]
fn a_type_of_cells_that_there_is_not() {
    let playbook = "let vms = docs::table(\"SOFTWARE.md\", \"vms\", #{ types: #{ vmid: \"number\" } });\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}
