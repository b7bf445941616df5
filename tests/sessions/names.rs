//! The web around the homelab, as phase 1 asks it: the public zone, its mail, the token that changes it.

use super::project::Project;

const NAMES: &str = "playbooks/phase1.rhai --step 1.0.*";

fn run(project: &Project, code: i32) -> String {
    project.ends(&format!("run --sim --sim-scenario bare --sim-answer-manual {NAMES}"), code)
}

#[test]
fn the_zone_is_looked_at_and_the_token_proves_itself_once_as_planned() {
    let project = Project::homelab_itself();
    let planned = project.ends(&format!("plan --sim --sim-scenario bare {NAMES}"), 4);
    assert!(planned.contains("would create cloudflare:_homelab-check.lab.codeofficer.com"), "{planned}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan writes nothing");
    let first = run(&project, 0);
    assert!(first.contains("plan fidelity: sure 1/1,"), "{first}");
    let written = project.ends("sim log --mutating --last", 0);
    let verbs: Vec<&str> =
        written.lines().filter_map(|line| line.split("cloudflare.com  ").nth(1)?.split(' ').next()).collect();
    assert_eq!(verbs, ["POST", "DELETE", "POST"], "made, deleted, and made for good: {written}");
    let again = run(&project, 0);
    assert!(again.contains("0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn a_zone_that_is_elsewhere_waits_for_a_person_and_says_what_differs() {
    let project = Project::homelab_itself();
    run(&project, 0);
    let network = project.read("docs/NETWORK.md");
    project.write("docs/NETWORK.md", &network.replace("gerardo.ns.cloudflare.com", "gerardo.ns.elsewhere.net"));
    let told = run(&project, 4);
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("manual 1.0.dns"), "{told}");
    for resolver in ["Cloudflare", "Google"] {
        let said = format!("resolver of {resolver}: its name servers are [\"gerardo.ns.cloudflare.com\"");
        assert!(told.contains(&said), "{told}");
    }
}

#[test]
fn a_token_that_is_none_waits_for_a_person() {
    let project = Project::homelab_itself();
    run(&project, 0);
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains("CLOUDFLARE")).expect("a token").to_owned();
    project.write(".homelab/sim/envrc", &envrc.replace(&line, "export HOMELAB_CLOUDFLARE_API_TOKEN='another'"));
    let told = run(&project, 4);
    assert!(told.contains("the API knows no such token"), "{told}");
}

#[test]
fn what_is_not_on_the_web_has_no_name_there() {
    let project = Project::homelab_itself();
    project.write(
        "playbooks/web.rhai",
        "step(\"1\", \"asks\", || http::get(docs::row(\"LINKS.md\", \"manuals\", \"K3s\").url));\n",
    );
    let told = project.ends("run --sim playbooks/web.rhai", 1);
    assert!(told.contains("no answer") && told.contains("tunnel"), "{told}");
}
