use super::*;
use crate::error::Error;

const TEXT: &str = "\
# Network

### hosts

| name     | ip            | vlan | dhcp        | tags    | on  |
| -------- | ------------- | ---- | ----------- | ------- | --- |
| pve-01   | 10.20.11.11   | 11   | not given   | a, `b`  | yes |
| pve-02   | (10.20.11.12) | –    | observed    | –       | no  |
| (pve-03) | 10.20.11.300  | x    |             | (one)   | eh  |

**pools**

| name    | range                     |
| ------- | ------------------------- |
| metallb | 10.20.11.200-10.20.11.220 |
";

fn document(text: &str, proposals: Proposals) -> Document {
    Document::new(Text::new("docs/NETWORK.md", text), proposals)
}

/// The error's sentence and the text that its first label points at.
fn pointed(error: &Error) -> (&str, &str) {
    let label = &error.labels()[0];
    (error.message(), &label.text[label.span.clone()])
}

#[test]
fn cells_are_read_as_the_type_that_is_needed() {
    let document = document(TEXT, Proposals::refused());
    let hosts = document.table("hosts").unwrap();
    let row = hosts.row("pve-01").unwrap();
    assert_eq!(row.cell("name").unwrap().text().unwrap(), "pve-01");
    assert_eq!(row.cell("ip").unwrap().ipv4().unwrap().to_string(), "10.20.11.11");
    assert_eq!(row.cell("vlan").unwrap().integer().unwrap(), 11);
    assert_eq!(row.cell("tags").unwrap().list().unwrap(), ["a", "b"]);
    assert!(row.cell("on").unwrap().boolean().unwrap());
    let pools = document.table("pools").unwrap();
    let range = pools.row("metallb").unwrap().cell("range").unwrap().range().unwrap();
    assert_eq!(range.to_string(), "10.20.11.200-10.20.11.220");
    assert_eq!(document.names(), ["hosts", "pools"]);
}

#[test]
fn nothing_is_a_value_that_may_be_asked_for() {
    let hosts = document(TEXT, Proposals::refused()).table("hosts").unwrap();
    let row = hosts.row("pve-02").unwrap();
    assert_eq!(row.cell("vlan").unwrap().optional(Cell::integer).unwrap(), None);
    assert!(row.cell("tags").unwrap().list().unwrap().is_empty());
    let error = row.cell("vlan").unwrap().integer().unwrap_err();
    assert_eq!(pointed(&error), ("docs/NETWORK.md hosts.pve-02.vlan: is empty", "–"));
}

#[test]
fn what_is_not_known_yet_is_an_error_that_points_at_the_cell() {
    let hosts = document(TEXT, Proposals::refused()).table("hosts").unwrap();
    let not_given = hosts.row("pve-01").unwrap().cell("dhcp").unwrap().text().unwrap_err();
    assert_eq!(pointed(&not_given), ("docs/NETWORK.md hosts.pve-01.dhcp: not given", "not given"));
    let observed = hosts.row("pve-02").unwrap().cell("dhcp").unwrap().optional(Cell::text).unwrap_err();
    assert_eq!(pointed(&observed), ("docs/NETWORK.md hosts.pve-02.dhcp: not observed yet", "observed"));
    assert_eq!(observed.class(), Class::InputMissing);
}

#[test]
fn a_proposal_waits_for_a_person_and_shows_the_other_ones_of_its_table() {
    let hosts = document(TEXT, Proposals::refused()).table("hosts").unwrap();
    let error = hosts.row("pve-02").unwrap().cell("ip").unwrap().ipv4().unwrap_err();
    assert_eq!(error.class(), Class::Blocked);
    let expected = ("docs/NETWORK.md hosts.pve-02.ip: is a proposal, not confirmed yet", "(10.20.11.12)");
    assert_eq!(pointed(&error), expected);
    let others: Vec<_> = error.labels()[1..].iter().map(|label| &label.text[label.span.clone()]).collect();
    assert_eq!(others, ["(pve-03)", "(one)"]);
}

#[test]
fn a_row_whose_key_is_in_parentheses_is_proposed_as_a_whole() {
    let hosts = document(TEXT, Proposals::refused()).table("hosts").unwrap();
    assert_eq!(hosts.keys(), ["pve-01", "pve-02", "pve-03"]);
    let error = hosts.row("pve-03").unwrap_err();
    assert_eq!(pointed(&error), ("docs/NETWORK.md hosts.pve-03: is a proposal, not confirmed yet", "(pve-03)"));
    assert_eq!(hosts.rows().unwrap_err().message(), error.message());
}

#[test]
fn accepted_proposals_count_as_facts_and_are_noted_once() {
    let proposals = Proposals::accepted();
    let hosts = document(TEXT, proposals.clone()).table("hosts").unwrap();
    assert_eq!(hosts.rows().unwrap().len(), 3);
    for _ in 0..2 {
        let cell = hosts.row("pve-02").unwrap().cell("ip").unwrap();
        assert_eq!(cell.ipv4().unwrap().to_string(), "10.20.11.12");
    }
    let notes: Vec<_> = proposals.notes().iter().map(Note::to_string).collect();
    let expected = [
        "docs/NETWORK.md hosts.pve-03: the whole row is a proposal",
        "docs/NETWORK.md hosts.pve-02.ip: 10.20.11.12 is a proposal",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_value_of_the_wrong_type_is_pointed_at() {
    let hosts = document(TEXT, Proposals::accepted()).table("hosts").unwrap();
    let row = hosts.row("pve-03").unwrap();
    let cell = |column: &str| row.cell(column).unwrap();
    for (error, what, span) in [
        (cell("ip").ipv4().unwrap_err(), "ip: `10.20.11.300` is not an IPv4 address", "10.20.11.300"),
        (cell("vlan").integer().unwrap_err(), "vlan: `x` is not a whole number", "x"),
        (cell("on").boolean().unwrap_err(), "on: `eh` is not yes or no", "eh"),
        (cell("tags").cidr().unwrap_err(), "tags: `one` is not an IPv4 network", "(one)"),
        (cell("name").range().unwrap_err(), "name: `pve-03` is not a range of IPv4 addresses", "(pve-03)"),
    ] {
        assert_eq!(pointed(&error), (format!("docs/NETWORK.md hosts.pve-03.{what}").as_str(), span));
    }
}

#[test]
fn unknown_names_are_met_with_the_nearest_known_one() {
    let document = document(TEXT, Proposals::accepted());
    let table = document.table("host").unwrap_err();
    assert_eq!(table.message(), "docs/NETWORK.md: no table under a heading `host`");
    assert_eq!(table.help_text(), Some("did you mean `hosts`? tables: hosts, pools"));
    let hosts = document.table("hosts").unwrap();
    let row = hosts.row("pve-1").unwrap_err();
    assert_eq!(pointed(&row), ("docs/NETWORK.md hosts: no row `pve-1`", "### hosts"));
    assert_eq!(row.help_text(), Some("did you mean `pve-01`? rows: pve-01, pve-02, pve-03"));
    let column = hosts.row("pve-01").unwrap().cell("ipv4").unwrap_err();
    assert_eq!(column.message(), "docs/NETWORK.md hosts.pve-01: no column `ipv4`");
    assert_eq!(column.help_text(), Some("did you mean `ip`? columns: name, ip, vlan, dhcp, tags, on"));
}

#[test]
fn a_table_with_a_bad_shape_is_refused_at_the_bad_place() {
    for (table, message, span) in [
        ("| a | b |\n| - | - |\n| 1 |\n", "a row has 1 cells, the table has 2 columns", "| 1 |"),
        ("| a | b |\n| - | - |\n| 1 | 2 | 3 |\n", "a row has 3 cells, the table has 2 columns", "| 1 | 2 | 3 |"),
        ("| a | b |\n| - | - |\n| 1 | 2 |\nwords\n", "a row has 1 cells, the table has 2 columns", "words"),
        ("| a | a |\n| - | - |\n", "two columns are named `a`", "a"),
        ("| a | b |\n| - | - |\n| k | 1 |\n| (k) | 2 |\n", "two rows have the key `k`", "(k)"),
        ("| a | b |\n| - | - |\n|  | 1 |\n", "a row has no key", "  "),
        ("| a | b |\n| - | - |\n| 1 ||\n", "cells are merged", "||"),
        ("| a | b |\n| - | - |\n| 1 | 2 |\n| 2 | ^^ |\n", "cells are merged", "^^"),
        ("| a | b |\n| - | - |\n| 1 | <td rowspan=2>2 |\n", "cells are merged", "<td rowspan=2>2"),
    ] {
        let document = document(&format!("# t\n\n{table}"), Proposals::refused());
        let error = document.check().unwrap_err();
        assert_eq!(pointed(&error), (format!("docs/NETWORK.md t: {message}").as_str(), span));
    }
}

#[test]
fn a_table_in_html_is_told_from_one_that_is_not_there() {
    let text = "# t\n\n<table>\n<tr><td colspan=2>1</td></tr>\n</table>\n";
    let error = document(text, Proposals::refused()).table("t").unwrap_err();
    assert_eq!(pointed(&error), ("docs/NETWORK.md: the table `t` is written in HTML", "<table>"));
}

#[test]
fn two_tables_of_one_name_are_both_shown() {
    let text = "# t\n\n| a |\n| - |\n\nMore:\n\n| b |\n| - |\n";
    let error = document(text, Proposals::refused()).table("t").unwrap_err();
    assert_eq!(pointed(&error), ("docs/NETWORK.md: two tables are named `t`", "| b |"));
    assert_eq!(error.labels().len(), 2);
}

#[test]
fn parentheses_make_a_proposal_only_around_the_whole_cell() {
    for (text, expected) in [
        ("(a)", Content::Proposal("a".into())),
        ("(a (b))", Content::Proposal("a (b)".into())),
        ("(a) b", Content::Value("(a) b".into())),
        ("(a) (b)", Content::Value("(a) (b)".into())),
        ("()", Content::Value("()".into())),
        ("—", Content::Nothing),
        ("not given, needed", Content::NotGiven),
        ("not givens", Content::Value("not givens".into())),
        ("observed", Content::NotObserved),
        ("observed twice", Content::Value("observed twice".into())),
    ] {
        assert_eq!(Content::of(text), expected, "{text}");
    }
}
