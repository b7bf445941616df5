use proptest::prelude::*;

use super::*;

fn values(text: &str) -> Vec<(String, String)> {
    let envrc = Envrc::parse(".envrc", text, Some("/home/anna")).unwrap();
    envrc.entries().iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect()
}

fn value(text: &str) -> String {
    values(text).pop().unwrap().1
}

fn refusal(text: &str) -> (String, String) {
    let error = Envrc::parse(".envrc", text, None).unwrap_err();
    let label = &error.labels()[0];
    assert_eq!(label.text.len(), text.len(), "masking keeps every offset");
    (error.message().to_string(), text[label.span.clone()].to_string())
}

#[test]
fn exports_and_plain_assignments_are_read_in_order() {
    let text = "# the API\n\nexport A=1\n  B=two # a remark\nexport C=3 D=4\r\n";
    let expected = [("A", "1"), ("B", "two"), ("C", "3"), ("D", "4")];
    assert_eq!(values(text), expected.map(|(name, value)| (name.to_string(), value.to_string())));
}

#[test]
fn every_kind_of_quoting_is_that_of_a_shell() {
    for (line, expected) in [
        ("A=", ""),
        ("A=''", ""),
        (r"A='it''s $HOME \n'", r"its $HOME \n"),
        (r#"A="a \"b\" \$c \\ \d""#, r#"a "b" $c \ \d"#),
        ("A=\"one\\\ntwo\"", "onetwo"),
        (r"A=$'tab\there\x41\u00e9\'\\\q\101'", "tab\there\u{41}é'\\\\qA"),
        (r"A=$'\xc3\xa9'", "é"),
        (r"A=two\ words", "two words"),
        ("A=mixed'quo ted'\"and \"more", "mixedquo tedand more"),
        ("A=a#b", "a#b"),
        ("A=automation@pve!homelab", "automation@pve!homelab"),
        ("A=price$", "price$"),
        ("A=\"$'x'\"", "$'x'"),
        ("A='two\nlines'", "two\nlines"),
    ] {
        assert_eq!(value(line), expected, "{line}");
    }
}

#[test]
fn references_mean_earlier_lines_and_the_home_directory() {
    assert_eq!(value("A=x\nB=$A-${A}y\"$A\"'$A'"), "x-xyx$A");
    assert_eq!(value("A=~/.ssh/key"), "/home/anna/.ssh/key");
    assert_eq!(value("A=\"$HOME/.ssh:~\""), "/home/anna/.ssh:~");
    assert_eq!(value("A=x~y"), "x~y");
    assert_eq!(value("A=\\\n~/x"), "/home/anna/x", "lines are joined first");
}

#[test]
fn a_reference_to_a_later_line_is_refused_at_its_place() {
    assert_eq!(
        refusal("A=\"x${B}\"\nB=1"),
        (".envrc line 1: a reference to a variable that no earlier line sets".into(), "${B}".into())
    );
}

#[test]
fn what_a_shell_would_execute_is_refused_at_its_place() {
    for (text, message, shown) in [
        (
            "A=1\nexport B=\"x$(pass show (a) b)y\"",
            "line 2: a command substitution is not executed",
            "$(pass show (a) b)",
        ),
        ("A=`date` ", "line 1: a command substitution is not executed", "`date`"),
        ("A=$(date", "line 1: a command substitution is not executed", "$(date"),
        ("source_env ../.envrc  \n", "line 1: `source_env` is not executed", "source_env ../.envrc"),
        ("PATH_add bin", "line 1: `PATH_add` is not executed", "PATH_add bin"),
        ("if true; then\nfi", "line 1: `if` is not executed", "if true; then"),
        ("export A", "line 1: `export` without a value", "export A"),
        ("A=1; rm x", "line 1: `;` has a meaning for a shell here", ";"),
        ("A=$1", "line 1: no script runs, so it has no parameters", "$1"),
        ("A=\"unclosed", "line 1: a quote is opened and never closed", "\""),
        ("A=$\\\n4", "line 1: a reference that goes on in the next line", "$"),
        ("A=1\nB=\"$A\\\nB\"", "line 2: a reference that goes on in the next line", "$A"),
    ] {
        assert_eq!(refusal(text), (format!(".envrc {message}"), shown.to_string()), "{text}");
    }
}

#[test]
fn what_may_be_part_of_a_secret_is_not_shown() {
    let text = "export PASSWORD=correct horse\nexport TOKEN=battery\nstaple";
    let error = Envrc::parse(".envrc", text, None).unwrap_err();
    assert!(error.message().contains("more words after the value"), "{error}");
    let label = &error.labels()[0];
    assert_eq!(&label.text[..], "export PASSWORD=******* *****\n****** *************\n******");
    assert_eq!(label.span, 24..29);
}

#[test]
fn a_password_with_a_dollar_sign_is_not_shown_either() {
    for text in ["export PASSWORD=hun$ter2", "export PASSWORD=\"hun`ter2\"", "export PASSWORD=x hun=ter2 y"] {
        let error = Envrc::parse(".envrc", text, None).unwrap_err();
        assert!(!format!("{error:?}").contains("ter2") && !format!("{error:?}").contains("hun"), "{error:?}");
    }
}

#[test]
fn a_line_that_direnv_would_execute_is_shown() {
    let error = Envrc::parse(".envrc", "export A=1\nPATH_add bin\n", None).unwrap_err();
    assert_eq!(&error.labels()[0].text[..], "export A=*\nPATH_add bin\n");
}

#[test]
fn debug_output_and_labels_hide_the_values() {
    let envrc = Envrc::parse(".envrc", "export TOKEN=hunter2", None).unwrap();
    assert!(!format!("{envrc:?}").contains("hunter2"));
    let label = envrc.label("TOKEN", "set here").unwrap();
    assert_eq!(&label.text[label.span.clone()], "TOKEN=*******");
}

#[test]
fn the_last_line_for_a_variable_holds() {
    assert_eq!(Envrc::parse("x", "A=1\nA=2", None).unwrap().get("A"), Some("2"));
}

#[test]
fn an_example_explains_each_variable_by_the_comment_above_it() {
    let text =
        "# About this file.\n\n# Where the API is,\n# with its port.\nexport URL=\n\n# How many.\n# export JOBS=16\n";
    let example = Example::parse(".envrc.example", text).unwrap();
    let [url, jobs] = example.variables() else { panic!("two variables: {example:?}") };
    assert_eq!((url.name.as_str(), url.required, url.default.as_deref()), ("URL", true, None));
    assert_eq!(url.explanation, "Where the API is, with its port.");
    assert_eq!((jobs.name.as_str(), jobs.required, jobs.default.as_deref()), ("JOBS", false, Some("16")));
    assert_eq!(&text[jobs.span.clone()], "JOBS=16");
}

#[test]
fn a_command_in_an_example_is_refused_like_in_an_envrc() {
    let error = Example::parse(".envrc.example", "# fine\n\nuse flake\n").unwrap_err();
    assert_eq!(error.message(), ".envrc.example line 3: `use` is not executed");
}

/// What bash makes of the text: the value of B. `None` where there is no bash.
fn in_bash(text: &str) -> Option<String> {
    let script = format!("{text}\nprintf %s \"$B\"");
    let mut bash = std::process::Command::new("bash");
    bash.env_clear().envs([("HOME", "/home/anna"), ("LC_ALL", "C.UTF-8")]).args(["-c", &script]);
    Some(String::from_utf8_lossy(&bash.output().ok()?.stdout).into_owned())
}

proptest! {
    #[test]
    fn an_accepted_line_means_what_it_means_in_bash(word in "[ab=$'\"\\\\{}#~\n xu04n7:/]{0,14}") {
        let text = format!("export A=earlier\nexport B={word}\n");
        if let (Ok(envrc), Some(value)) = (Envrc::parse(".envrc", &text, Some("/home/anna")), in_bash(&text)) {
            prop_assert_eq!(envrc.get("B"), Some(value.as_str()), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,60}") {
        let _ = Envrc::parse(".envrc", &text, Some("/root"));
        let _ = Example::parse(".envrc.example", &text);
    }

    #[test]
    fn no_text_made_of_shell_characters_makes_the_parser_panic(text in "[ab=$'\"\\\\(){}#~`\n xuU07é;]{0,40}") {
        let _ = Envrc::parse(".envrc", &text, Some("/root"));
        let _ = Example::parse(".envrc.example", &text);
    }

    #[test]
    fn a_value_that_was_quoted_reads_back_unchanged(value in "(?s)[^\0]{0,40}") {
        let text = line("A", &value);
        let envrc = Envrc::parse(".envrc", &text, None).unwrap();
        prop_assert_eq!(envrc.get("A"), Some(value.as_str()));
        prop_assert_eq!(envrc.entries().len(), 1);
    }
}

#[test]
fn a_value_is_replaced_where_it_counts_and_all_else_stays() {
    let text = "# mine\nexport A=1 B='two words'\nexport A=3 # last\n";
    let set = |name: &str, value: &str| super::with(".envrc", text, None, name, value).unwrap();
    assert_eq!(set("A", "it's"), "# mine\nexport A=1 B='two words'\nexport A='it'\\''s' # last\n");
    assert_eq!(set("B", "x"), "# mine\nexport A=1 B=x\nexport A=3 # last\n");
    assert_eq!(set("C", "x"), format!("{text}export C=x\n"));
    for name in ["A", "B", "C"] {
        let read = Envrc::parse(".envrc", &set(name, "a $b 'c'"), None).unwrap();
        assert_eq!(read.get(name), Some("a $b 'c'"));
    }
    assert!(super::with(".envrc", "export A=$(date)\n", None, "A", "x").is_err(), "nobody knows what that line means");
}
