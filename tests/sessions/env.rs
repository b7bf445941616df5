use super::project::Project;

const EXAMPLE: &str = "# Where the API is. Any node will do.
export HOMELAB_PVE_URL=https://10.0.0.1:8006

# The secret of the token.
export HOMELAB_PVE_TOKEN_SECRET=

# How many at once.
# export HOMELAB_JOBS=16
";

#[test]
fn a_missing_variable_is_named_and_fails_the_command() {
    let project = Project::new();
    project.write(".envrc.example", EXAMPLE);
    project.write(".envrc", "export HOMELAB_PVE_URL=https://10.0.0.2:8006\nexport HOMELAB_PVE_TOKEN_SECERT=hunter2\n");
    insta::assert_snapshot!(project.session(&["env"]), @"
    $ homelab env
    HOMELAB_PVE_URL           set in .envrc       Where the API is
    HOMELAB_PVE_TOKEN_SECRET  missing             The secret of the token
    HOMELAB_JOBS              not set, optional   How many at once

    .envrc sets HOMELAB_PVE_TOKEN_SECERT, which .envrc.example does not explain; did you mean HOMELAB_PVE_TOKEN_SECRET?
    input-missing

      × not set: HOMELAB_PVE_TOKEN_SECRET
      help: copy .envrc.example to .envrc, and fill them in there; `--sim` needs
            none of them
    [exit 1]
    ");
}

#[test]
fn where_a_variable_comes_from_is_shown_and_its_value_never() {
    let project = Project::new();
    project.write(".envrc.example", EXAMPLE);
    project.write(".envrc", "export HOMELAB_PVE_TOKEN_SECRET=hunter2\n");
    let output = project.homelab(&["env"]).env("HOMELAB_PVE_URL", "https://hunter3").output().expect("it starts");
    let told = project.told(&output);
    assert!(!told.contains("hunter"), "{told}");
    insta::assert_snapshot!(told, @"
    HOMELAB_PVE_URL           set in environment  Where the API is
    HOMELAB_PVE_TOKEN_SECRET  set in .envrc       The secret of the token
    HOMELAB_JOBS              not set, optional   How many at once
    ");
}
