use super::*;
use crate::screen::sample;

fn seen(events: &[Event], paint: Paint, detail: Detail) -> String {
    let mut out = Vec::new();
    let mut screen = Human::new(&mut out, paint, detail);
    events.iter().try_for_each(|event| screen.notice(event)).expect("written");
    String::from_utf8(out).expect("text")
}

fn plain(events: &[Event]) -> String {
    seen(events, Paint::plain(), Detail::Normal)
}

#[test]
fn a_run_reads_like_the_plan() {
    insta::assert_snapshot!(plain(&sample::real_run()));
}

#[test]
fn a_dry_run_says_first_and_last_that_nothing_is_changed() {
    let text = plain(&sample::dry_run());
    assert_eq!((text.lines().next(), text.lines().next_back()), (Some(BANNER), Some(BANNER)));
    insta::assert_snapshot!(text);
}

#[test]
fn quiet_shows_failures_and_the_summary() {
    insta::assert_snapshot!(seen(&sample::real_run(), Paint::plain(), Detail::Quiet));
}

#[test]
fn verbose_shows_what_was_already_right_and_what_commands_said() {
    insta::assert_snapshot!(seen(&sample::real_run(), Paint::plain(), Detail::Verbose));
}

#[test]
fn colour_changes_nothing_but_colour() {
    for events in [sample::real_run(), sample::dry_run()] {
        let colored = seen(&events, Paint::colored(), Detail::Normal);
        assert!(colored.contains("\x1b["));
        assert_eq!(console::strip_ansi_codes(&colored), plain(&events));
    }
}

#[test]
fn a_run_without_changes_says_so_in_a_line_of_its_own() {
    let text = plain(&sample::quiet_run());
    assert!(text.lines().any(|line| line == "0 changes"), "{text}");
}

#[test]
fn without_a_terminal_there_are_no_control_bytes() {
    for detail in [Detail::Quiet, Detail::Normal, Detail::Verbose] {
        let text = seen(&sample::real_run(), Paint::plain(), detail);
        let control = text.chars().find(|character| character.is_control() && *character != '\n');
        assert_eq!(control, None, "{text}");
    }
}

#[test]
fn steps_that_run_side_by_side_do_not_mix_their_lines() {
    let text = plain(&sample::real_run());
    let place = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} is missing in {text}"));
    // The change of db began before those of web, and ended in between.
    assert!(place("3.3.web  web") < place("updated web:file:/etc/motd"));
    assert!(place("updated web:file:/etc/motd") < place("3.3.db  db"));
    assert!(place("3.3.db  db") < place("failed to update proxmox:vm:112"));
}
