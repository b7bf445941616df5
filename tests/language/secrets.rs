//! What a script builds from a secret is secret too, and no way of printing it shows it.

use super::support::plan;
use homelab::run::secret::Secret;
use homelab::run::unknown::Unknown;

#[track_caller]
fn is_secret(script: &str, exposed: &str) {
    let told = plan(script);
    let value = told.outcome.unwrap_or_else(|error| panic!("{script}: {error}"));
    let secret = value.clone().try_cast::<Secret>().unwrap_or_else(|| panic!("{script}: {value:?}"));
    assert_eq!(secret.expose(), exposed, "{script}");
}

#[test]
fn a_text_built_from_a_secret_is_secret() {
    is_secret("let s = secret(\"pw\"); `user:${s}@host`", "user:pw@host");
    is_secret("let s = secret(\"pw\"); \"user:\" + s + '!'", "user:pw!");
    is_secret("let s = secret(\"pw\"); s + 1", "pw1");
    is_secret("let s = secret(\"pw\"); 'c' + s", "cpw");
    is_secret("let s = secret(\"pw\"); s + s", "pwpw");
    is_secret("let s = secret(\"pw\"); let t = \"a\"; t += s; t += \"b\"; t", "apwb");
    is_secret("let s = secret(\"pw\"); let t = \"a\"; t.append(s); t", "apw");
    is_secret("let s = secret(\"pw\"); s += \"!\"; s", "pw!");
    is_secret("let s = secret(\"pw\"); s.to_string()", "pw");
    is_secret("let s = secret(\"p\\\"w\"); #{password: s}.to_json()", "{\"password\":\"p\\\"w\"}");
    is_secret("let s = secret(\"pw\"); [s].to_string()", "[\"pw\"]");
    is_secret("let s = secret(\"pw\"); `${[s]}`", "[\"pw\"]");
}

#[test]
fn with_an_unknown_it_is_an_unknown_that_shows_dots() {
    let told = plan("let s = secret(\"pw\"); `${s}-${unknown()}`");
    let unknown = told.outcome.unwrap().cast::<Unknown>();
    assert_eq!(unknown.to_string(), "•••-‹token.secret›");
    assert!(plan("secret(\"pw\") + unknown()").outcome.unwrap().is::<Unknown>());
    assert!(plan("unknown() + secret(\"pw\")").outcome.unwrap().is::<Unknown>());
    assert!(plan("let s = secret(\"pw\"); s += unknown(); s").outcome.unwrap().is::<Unknown>());
}

#[test]
fn printing_shows_dots() {
    let told = plan("let s = secret(\"pw\"); print(s); print([s]); print(#{a: `x${s}`}); debug(s); debug([s]);");
    assert_eq!(told.printed, ["•••", "[•••]", "#{\"a\": •••}", "•••", "[•••]"]);
}

#[test]
fn its_text_can_be_compared_and_counted() {
    for (script, expected) in [
        ("secret(\"pw\") == \"pw\"", true),
        ("\"pw\" == secret(\"pw\")", true),
        ("secret(\"pw\") != secret(\"pw\")", false),
        ("secret(\"pw\") == 5", false),
        ("secret(\"pw\").len() == 2 && secret(\"pw\").len == 2", true),
        ("secret(\"\").is_empty()", true),
        ("secret(\"pw\") in [\"a\", \"pw\"]", true),
        ("switch secret(\"pw\") { \"pw\" => true, _ => false }", true),
    ] {
        assert_eq!(plan(script).outcome.unwrap().as_bool(), Ok(expected), "{script}");
    }
    assert_eq!(plan("secret(\"pw\") == unknown()").deferred.len(), 1);
}

#[test]
fn where_a_function_wants_text_it_is_refused_without_showing() {
    for script in [
        "wants_text(secret(\"hunter2\"))",
        "secret(\"hunter2\").to_upper()",
        "parse_int(secret(\"hunter2\"))",
        "#{}[secret(\"hunter2\")]",
        "texts::upper(secret(\"hunter2\"))",
        "throw secret(\"hunter2\")",
        "if secret(\"hunter2\") { }",
    ] {
        let error = plan(script).outcome.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{script}: {error:?}");
    }
}
