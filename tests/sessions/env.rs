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
    insta::assert_snapshot!(project.session(&["env"]));
}

#[test]
fn where_a_variable_comes_from_is_shown_and_its_value_never() {
    let project = Project::new();
    project.write(".envrc.example", EXAMPLE);
    project.write(".envrc", "export HOMELAB_PVE_TOKEN_SECRET=hunter2\n");
    let output = project.homelab(&["env"]).env("HOMELAB_PVE_URL", "https://hunter3").output().expect("it starts");
    let told = project.told(&output);
    assert!(!told.contains("hunter"), "{told}");
    insta::assert_snapshot!(told);
}
