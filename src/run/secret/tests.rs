use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

fn knowing(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    secrets.iter().for_each(|secret| redactor.learn(secret));
    redactor
}

#[track_caller]
fn hides(secret: &str, shown: &str) {
    let clean = knowing(&[secret]).clean(&format!("before {shown} after"));
    assert_eq!(clean, format!("before {DOTS} after"), "{secret:?} as {shown}");
}

#[test]
fn a_secret_shows_as_dots_in_every_form() {
    for shown in ["p\"ss wörd\n", "p\\\"ss wörd\\n", "p%22ss%20w%C3%B6rd%0A", "cCJzcyB3w7ZyZAo="] {
        hides("p\"ss wörd\n", shown);
    }
}

#[test]
fn it_does_not_matter_which_characters_an_encoder_escapes() {
    let secret = "a/b c'd\"ö\\e&f";
    for shown in [
        "a%2fb c'd\"ö\\e&f",
        "a%2Fb+c%27d%22%c3%b6%5ce%26f",
        r#"a\/b c'd\"\u00f6\\e&f"#,
        r#"a/b c\'d\"\u{f6}\\e\x26f"#,
        r"a/b c'\''d'ö\e&f".replace("d'", "d\"").as_str(),
        "a/b c''d\"ö\\e&f",
        "a/b c&apos;d&quot;ö\\e&amp;f",
        "a/b c&#39;d&#x22;&#246;\\e&amp;f",
    ] {
        hides(secret, shown);
    }
}

#[test]
fn what_is_encoded_twice_is_found_too() {
    let json = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    hides("two\nlines \"of it\"", &json(&json("two\nlines \"of it\"")));
    hides("50%/ö", "50%2525%252F%25C3%25B6");
}

#[test]
fn base64_is_found_wherever_the_secret_begins_in_the_encoded_text() {
    // A character that holds bits of the secret goes with it; whole characters apart from it may stay.
    for (plain, shown) in [
        ("hunter22", "•••"),
        ("x:hunter22", "eD•••"),
        ("ab:hunter22!", "YWI6•••"),
        ("abc:hunter22, and more of it", "YWJjO•••LCBhbmQgbW9yZSBvZiBpdA=="),
    ] {
        assert_eq!(knowing(&["hunter22"]).clean(&STANDARD.encode(plain)), shown, "{plain}");
    }
}

#[test]
fn base64_is_found_in_both_alphabets_and_broken_over_lines() {
    let secret = "??>>~~ a secret that is long enough for its base64 to be broken over lines ??>>~~";
    let redactor = knowing(&[secret]);
    for encoded in [STANDARD.encode(secret), URL_SAFE.encode(secret)] {
        let broken: Vec<&str> = [&encoded[..64], &encoded[64..]].to_vec();
        for text in [encoded.clone(), broken.join("\n"), format!("  │ {}\n  │ {}\n", broken[0], broken[1])] {
            let bare = String::from_utf8(reading::without_layout(redactor.clean(&text).as_bytes())).unwrap();
            assert_eq!(bare, DOTS, "{text}");
        }
    }
}

#[test]
fn a_secret_that_a_layout_broke_is_found() {
    let redactor = knowing(&["correct horse battery staple"]);
    assert_eq!(redactor.clean("× it was correct horse\n  │ battery staple!\n"), format!("× it was {DOTS}!\n"));
}

#[test]
fn hexadecimal_digits_are_found() {
    hides("hunter22", "68756e7465723232");
    hides("hunter22", "68756E7465723232");
}

#[test]
fn of_secrets_that_overlap_nothing_is_left_over() {
    for secrets in [["tiger", "tiger-lily"], ["tiger-lily", "tiger"]] {
        assert_eq!(knowing(&secrets).clean("x tiger-lily y tiger z"), format!("x {DOTS} y {DOTS} z"));
    }
    assert_eq!(knowing(&["abcdef", "defghi"]).clean("<abcdefghi>"), format!("<{DOTS}>"));
    assert_eq!(knowing(&["abab"]).clean("<ababab>"), format!("<{DOTS}>"));
}

#[test]
fn a_long_line_of_a_secret_is_found_alone_and_the_armour_of_a_key_is_not() {
    let redactor = knowing(&["-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n}\n-----END KEY-----\n"]);
    assert_eq!(redactor.clean("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    assert_eq!(redactor.clean("} MC4CAQAwBQYDK2VwBCIEIA"), format!("}} {DOTS}"));
}

#[test]
fn what_is_too_short_blots_out_nothing() {
    assert_eq!(knowing(&["a", " ab\n", "abc"]).clean("abc, a cab"), "abc, a cab");
    assert!(is_long_enough("äöüß") && !is_long_enough(" äöü\n"));
}

#[test]
fn ordinary_text_is_left_alone() {
    let redactor = knowing(&["hunter22", "a b c d", "with\nlines", "50%"]);
    for text in ["hunter 22", "abcd\nefgh", "with lines 500% \\u00zz \\x &#; &; %zz '' + \\", "héllo │ wörld"] {
        assert_eq!(redactor.clean(text), text);
    }
}

#[test]
fn a_secret_number_does_not_show_as_a_number() {
    let mut json = serde_json::json!({ "pin": 8442, "other": 1, "8442": ["is 8442"] });
    knowing(&["8442"]).clean_json(&mut json);
    assert_eq!(json, serde_json::json!({ "pin": DOTS, "other": 1, DOTS: [format!("is {DOTS}")] }));
}

#[test]
fn an_error_points_at_the_same_words_after_it_is_cleaned() {
    let text = "let a = \"hunter22\";\nlet b = fail(\"hunter22\");\n";
    let span = text.find("fail").map(|at| at..at + 4).unwrap();
    let label = Label { file: "p.rhai".into(), text: text.into(), span, note: "hunter22".into() };
    let error = Error::new(crate::error::Class::Failed, "hunter22").cause("hunter22").help("hunter22").at(label);
    let clean = knowing(&["hunter22"]).clean_error(&error);
    let label = &clean.labels()[0];
    assert_eq!(&label.text[label.span.clone()], "fail");
    assert!(!format!("{clean:?}").contains("hunter22"), "{clean:?}");
}

#[test]
fn many_secrets_are_found_as_one_is() {
    let secrets: Vec<String> = (0..300).map(|number| format!("secret-{number}-{}", number * 7919)).collect();
    let redactor = Redactor::default();
    secrets.iter().for_each(|secret| redactor.learn(secret));
    assert!(redactor.read(|known| known.groups.len()) < 10);
    for secret in &secrets {
        assert_eq!(redactor.clean(&format!("<{secret}>")), format!("<{DOTS}>"));
    }
}

#[test]
fn neither_a_secret_nor_what_knows_it_shows_it() {
    let redactor = Redactor::default();
    let secret = redactor.secret("hunter22");
    assert_eq!(format!("{redactor:?} {secret:?} {secret}"), format!("Redactor {DOTS} {DOTS}"));
}
