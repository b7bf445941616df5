//! Packages on a simulated machine.

use super::bench::Bench;
use crate::error::Class;

#[test]
fn packages_are_installed_in_one_transaction_then_left_alone_then_removed() {
    let bench = Bench::simulated();
    let script = "h.packages(#{ names: [\"jq\", \"curl\", \"nfs-common\"] })";
    assert_eq!(bench.converge(script), ["update vm:packages:jq,curl,nfs-common"]);
    assert_eq!(bench.shell("dpkg-query -W -f '${Status}\\n' jq nfs-common"), "install ok installed\n".repeat(2).trim());
    let gone = "h.packages(#{ names: [\"jq\", \"tmux\"], absent: true })";
    assert_eq!(bench.converge(gone), ["update vm:packages:jq,tmux"]);
    assert_eq!(bench.shell("dpkg-query -W -f '${Status}\\n' jq"), "deinstall ok config-files");
    assert_eq!(
        bench.converge("h.packages(#{ names: [\"jq\"], absent: true, purge: true })"),
        ["update vm:packages:jq"]
    );
}

#[test]
fn a_plan_shows_which_packages_are_missing_and_installs_none() {
    let bench = Bench::simulated();
    bench.shell("apt-get update");
    let plan = bench.plan("h.packages(#{ names: [\"curl\", \"jq=1.7.*\"] })");
    assert_eq!(plan.planned(), ["update vm:packages:curl,jq"]);
    assert!(plan.told().contains(r#""diff":[{"path":"jq","before":null,"after":"1.7.*"}]"#), "{}", plan.told());
    assert!(bench.shell("dpkg-query -W jq").contains("no packages found"));
}

#[test]
fn a_package_that_is_planned_is_there_for_what_comes_after() {
    let bench = Bench::simulated();
    let script = "h.packages(#{ names: [\"jq\"] }); h.packages(#{ names: [\"jq\", \"tree\"] })";
    assert_eq!(bench.converge(script), ["update vm:packages:jq", "update vm:packages:jq,tree"]);
}

#[test]
fn a_package_cannot_be_wanted_and_unwanted() {
    let bench = Bench::simulated();
    let plan = bench.plan("h.packages(#{ names: [\"jq\"] }); h.packages(#{ names: [\"jq\"], absent: true })");
    assert_eq!(plan.fights.len(), 1, "{:?}", plan.fights);
}

#[test]
fn a_package_that_is_not_to_be_had_is_found_before_anything_is_changed() {
    let bench = Bench::simulated();
    bench.shell("apt-get update");
    let error = bench.plan("h.packages(#{ names: [\"jqq\"] })").error();
    assert_eq!(error.class(), Class::InputMissing);
    assert!(error.to_string().contains("vm: a package is not to be had"), "{error}");
}

#[test]
fn the_lists_are_fetched_again_where_they_are_old_or_missing_and_only_then() {
    let bench = Bench::simulated();
    bench.converge("h.packages(#{ names: [\"jq\"] })");
    let fetched = || bench.shell("stat -c %Y /var/lib/apt/periodic/update-success-stamp");
    bench.shell("touch -d '2020-01-01 00:00:00' /var/lib/apt/periodic/update-success-stamp");
    let old = fetched();
    bench.converge("h.packages(#{ names: [\"tree\"], update_cache: false })");
    assert_eq!(fetched(), old);
    bench.converge("h.packages(#{ names: [\"tmux\"] })");
    let new = fetched();
    assert_ne!(new, old);
    bench.shell("echo 'Types: deb' > /etc/apt/sources.list.d/more.sources; touch -d '2020-01-01 00:00:00' /etc/apt/sources.list.d/more.sources");
    let stamp = bench.shell("cat /var/lib/apt/periodic/update-success-stamp");
    bench.converge("h.packages(#{ names: [\"socat\"] })");
    assert_ne!(bench.shell("cat /var/lib/apt/periodic/update-success-stamp"), stamp, "the sources are others now");
}

#[test]
fn a_user_who_is_not_root_is_told_what_to_do() {
    let bench = Bench::simulated();
    bench.shell("apt-get update");
    let error = bench.run("h.packages(#{ names: [\"jq\"], become: false })").error();
    assert_eq!(error.class(), Class::Permission, "{error}");
    assert!(error.help_text().expect("helps").contains("become: true"));
}
