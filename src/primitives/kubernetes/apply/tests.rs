//! `k.apply` in scripts, against a server that keeps objects and who set which of their fields, as the API does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::clients::dial::Dialler;
use crate::clients::kubernetes::test_server::{Asked, Reply, TestServer};
use crate::error::Class;
use crate::primitives::kubernetes::Clusters;
use crate::primitives::testing::Lab;
use crate::script::context::Services;

/// The server's memory: objects by path, and by path and field its managers.
#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    owners: BTreeMap<(String, String), BTreeSet<String>>,
    things: bool,
}

/// A cluster that has the namespace `default`.
struct Cluster {
    lab: Lab,
    server: TestServer,
    kept: Arc<Mutex<Kept>>,
}

/// The leaves of an object below what names it.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| leaves(value, &format!("{path}.{}", key.replace('.', "\u{1}")), found));
        }
        _ => drop(found.insert(path.to_owned(), value.clone())),
    }
}

fn set(object: &mut Value, path: &str, value: Option<&Value>) {
    let keys: Vec<String> = path.trim_start_matches('.').split('.').map(|key| key.replace('\u{1}', ".")).collect();
    let (last, outer) = keys.split_last().unwrap();
    let mut place = object;
    for key in outer {
        if !place[key.as_str()].is_object() {
            place[key.as_str()] = json!({});
        }
        place = &mut place[key.as_str()];
    }
    match value {
        Some(value) => place[last.as_str()] = value.clone(),
        None => drop(place.as_object_mut().unwrap().remove(last)),
    }
}

fn conflict(fields: &[(String, String)]) -> Reply {
    let causes: Vec<Value> = fields
        .iter()
        .map(|(field, manager)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with \"{manager}\""), "field": field }))
        .collect();
    let body = json!({ "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409,
        "message": "Apply failed with conflicts", "details": { "causes": causes } });
    Reply::text(409, &body.to_string())
}

fn apply(kept: &mut Kept, asked: &Asked) -> Reply {
    let (path, query) = asked.target.split_once('?').unwrap();
    assert_eq!(asked.kind, "application/apply-patch+yaml");
    assert_eq!(asked.body["metadata"].get("managedFields"), None);
    let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (manager, force, dry) = (query["fieldManager"].clone(), query["force"] == "true", query.contains_key("dryRun"));
    let parts: Vec<&str> = path.split('/').collect();
    if let Some(at) = parts.iter().position(|part| *part == "namespaces").filter(|at| parts.len() > at + 2) {
        let namespace = format!("/api/v1/namespaces/{}", parts[at + 1]);
        if !kept.objects.contains_key(&namespace) {
            let body = json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": format!("namespaces \"{}\" not found", parts[at + 1]),
                "details": { "name": parts[at + 1], "kind": "namespaces" } });
            return Reply::text(404, &body.to_string());
        }
    }
    let mut wanted = BTreeMap::new();
    leaves(&asked.body, "", &mut wanted);
    wanted.retain(|field, _| {
        !matches!(field.as_str(), ".apiVersion" | ".kind" | ".metadata.name" | ".metadata.namespace")
    });
    let live = kept.objects.get(path).cloned();
    let mut object = live.clone().unwrap_or_else(|| asked.body.clone());
    let mut there = BTreeMap::new();
    leaves(&object, "", &mut there);
    let owners_of = |field: &String| kept.owners.get(&(path.to_owned(), field.clone())).cloned().unwrap_or_default();
    let mut conflicts = Vec::new();
    for (field, value) in &wanted {
        let others = owners_of(field).into_iter().filter(|owner| *owner != manager);
        if live.is_some() && there.get(field) != Some(value) {
            conflicts.extend(others.map(|owner| (field.clone(), owner)));
        }
    }
    if !conflicts.is_empty() && !force {
        return conflict(&conflicts);
    }
    let mut owners = kept.owners.clone();
    for (field, value) in &wanted {
        // As a quantity is put into its usual words.
        let value = if *value == json!("1000m") { json!("1") } else { value.clone() };
        set(&mut object, field, Some(&value));
        let own = owners.entry((path.to_owned(), field.clone())).or_default();
        if force {
            own.clear();
        }
        own.insert(manager.clone());
    }
    for ((place, field), managers) in &mut owners {
        if place == path && !wanted.contains_key(field) && managers.remove(&manager) && managers.is_empty() {
            set(&mut object, field, None);
        }
    }
    object["metadata"]["uid"] = json!("u");
    if object["kind"] == "Thing" {
        object["spec"]["filled"] = json!(true);
    }
    if object["kind"] == "Namespace" {
        object["status"] = json!({ "phase": "Active" });
    }
    if object["kind"] == "CustomResourceDefinition" {
        object["status"] = json!({ "conditions": [{ "type": "Established", "status": "True" }] });
    }
    if !dry {
        kept.objects.insert(path.to_owned(), object.clone());
        kept.owners = owners;
        if asked.body["kind"] == "CustomResourceDefinition" {
            kept.things = true;
        }
    }
    Reply::json(&object)
}

fn kinds(kept: &Kept, group: bool) -> Value {
    let resource = |plural: &str, kind: &str, scope: &str| json!({ "resource": plural, "responseKind": { "kind": kind }, "scope": scope, "verbs": ["get", "patch"] });
    let core = json!({ "metadata": {}, "versions": [{ "version": "v1", "resources": [
        resource("namespaces", "Namespace", "Cluster"), resource("configmaps", "ConfigMap", "Namespaced"), resource("secrets", "Secret", "Namespaced"),
    ] }] });
    let crds = json!({ "metadata": { "name": "apiextensions.k8s.io" }, "versions": [{ "version": "v1", "resources": [
        resource("customresourcedefinitions", "CustomResourceDefinition", "Cluster"),
    ] }] });
    let things = json!({ "metadata": { "name": "example.org" }, "versions": [{ "version": "v1", "resources": [resource("things", "Thing", "Namespaced")] }] });
    let items = match (group, kept.things) {
        (false, _) => vec![core],
        (true, false) => vec![crds],
        (true, true) => vec![crds, things],
    };
    json!({ "kind": "APIGroupDiscoveryList", "items": items })
}

fn answer(kept: &Mutex<Kept>, asked: &Asked) -> Reply {
    let mut kept = kept.lock().unwrap();
    let path = asked.target.split('?').next().unwrap();
    match (asked.method.as_str(), path) {
        ("GET", "/api" | "/apis") => Reply::json(&kinds(&kept, path == "/apis")),
        ("GET", _) if kept.objects.contains_key(path) => Reply::json(&kept.objects[path]),
        ("GET", _) if path.ends_with('s') => {
            let within = format!("{path}/");
            let items: Vec<&Value> =
                kept.objects.iter().filter(|(path, _)| path.starts_with(&within)).map(|(_, object)| object).collect();
            Reply::json(&json!({ "kind": "List", "metadata": {}, "items": items }))
        }
        ("PATCH", _) => apply(&mut kept, asked),
        _ => Reply::refusal(404, "NotFound", "not found"),
    }
}

impl Cluster {
    fn new() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
        kept.lock().unwrap().objects.insert("/api/v1/namespaces/default".to_owned(), namespace);
        let mut lab = Lab::new();
        let shared = Arc::clone(&kept);
        let server = lab.runtime.block_on(TestServer::start(move |asked| answer(&shared, asked)));
        lab.write("kubeconfig", &server.kubeconfig);
        lab.variables.insert("HOMELAB_KUBECONFIG".to_owned(), "kubeconfig".to_owned());
        lab.services = Services::default().with(Arc::new(Clusters::new(Dialler::Direct)));
        lab.register = vec![super::super::register];
        lab.realms = vec![super::super::realm_of];
        Cluster { lab, server, kept }
    }

    /// The requests that changed something.
    fn mutations(&self) -> Vec<String> {
        let targets = self.server.targets().into_iter();
        let sent = targets.filter(|target| !target.starts_with("GET") && !target.contains("dryRun"));
        sent.map(|target| target.split('?').next().unwrap().to_owned()).collect()
    }

    fn object(&self, path: &str) -> Value {
        self.kept.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }

    /// Somebody else sets a field.
    fn meddles(&self, who: &str, path: &str, field: &str, value: &Value) {
        let mut kept = self.kept.lock().unwrap();
        set(kept.objects.get_mut(path).unwrap(), field, Some(value));
        kept.owners.insert((path.to_owned(), field.to_owned()), BTreeSet::from([who.to_owned()]));
    }

    /// Plans, runs, runs again and plans again: the plan sends no change and tells what the run does, and then nothing is left.
    #[track_caller]
    fn converges(&self, script: &str) -> Vec<String> {
        let script = format!("let k = kubernetes::connect();\n{script}");
        let sent = self.mutations().len();
        let planned = self.lab.plan(&script);
        assert!(planned.value.is_ok(), "{:?}", planned.value);
        assert_eq!(self.mutations().len(), sent, "a plan changes nothing");
        let ran = self.lab.run(&script);
        assert!(ran.value.is_ok(), "{:?}", ran.value);
        let fields = |told: &crate::primitives::testing::Told| -> Vec<String> {
            let shown = |change: &&crate::run::event::Change| {
                change
                    .diff
                    .iter()
                    .map(|field| format!("{} {}: {:?} → {:?}", change.address, field.path, field.before, field.after))
                    .collect::<Vec<_>>()
            };
            told.changes().iter().flat_map(shown).collect()
        };
        assert_eq!(fields(&planned), fields(&ran), "the plan told what the run did");
        let changes = self.mutations();
        let again = self.lab.run(&script);
        assert!(again.value.is_ok(), "{:?}", again.value);
        assert_eq!((again.addresses(), self.mutations()), (vec![], changes), "a second run changes nothing");
        assert_eq!(self.lab.plan(&script).addresses(), Vec::<&str>::new());
        fields(&ran)
    }
}

const MAP: &str = "/api/v1/namespaces/default/configmaps/site";

#[test]
fn an_object_is_made_changed_and_left_alone() {
    let cluster = Cluster::new();
    let made =
        cluster.converges(r#"k.config_map(#{ namespace: "default", name: "site", data: #{ a: "1", b: "2" } });"#);
    assert_eq!(made.len(), 3, "{made:?}");
    let changed = cluster.converges(r#"k.config_map(#{ namespace: "default", name: "site", data: #{ a: "one" } });"#);
    assert_eq!(
        changed,
        [
            r#"ConfigMap:default/site data.a: Some(String("1")) → Some(String("one"))"#,
            r#"ConfigMap:default/site data.b: Some(String("2")) → None"#,
        ]
    );
    assert_eq!(cluster.object(MAP)["data"], json!({ "a": "one" }));
}

#[test]
fn what_the_api_says_in_other_words_is_no_difference() {
    let cluster = Cluster::new();
    cluster.converges(r#"k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: site}\ndata: {cpu: 1000m}\n");"#);
    assert_eq!(cluster.object(MAP)["data"], json!({ "cpu": "1" }));
}

#[test]
fn a_namespace_and_what_is_in_it_are_planned_and_made_in_one_go() {
    let cluster = Cluster::new();
    let script = r#"
        k.namespace(#{ name: "ai", labels: #{ team: "a" } });
        k.secret(#{ namespace: "ai", name: "key", data: #{ token: "plain and long" } });
        k.apply([#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "ai" }, data: #{ a: "1" } }]);
    "#;
    let told = cluster.converges(script);
    assert_eq!(told.iter().filter(|line| line.starts_with("Secret:ai/key")).count(), 3, "{told:?}");
    assert_eq!(cluster.object("/api/v1/namespaces/ai/secrets/key")["data"], json!({ "token": "cGxhaW4gYW5kIGxvbmc=" }));
}

#[test]
fn a_namespace_that_nobody_makes_is_missed_by_name() {
    let cluster = Cluster::new();
    let script = r#"kubernetes::connect().config_map(#{ namespace: "ia", name: "site", data: #{} });"#;
    let told = cluster.lab.plan(script);
    assert_eq!(told.error().message(), "ConfigMap:ia/site: there is no namespace ia");
    assert!(told.error().help_text().unwrap().contains("k.namespace"), "{:?}", told.error());
}

#[test]
fn a_kind_comes_with_its_definition_in_one_plan_and_one_run() {
    let cluster = Cluster::new();
    let script = r#"
        k.apply(#{ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: #{ name: "things.example.org" },
            spec: #{ group: "example.org", names: #{ kind: "Thing", plural: "things" }, scope: "Namespaced", versions: [#{ name: "v1" }] } });
        let thing = k.apply(#{ apiVersion: "example.org/v1", kind: "Thing", metadata: #{ name: "t", namespace: "default" }, spec: #{ size: 3 } });
        let found = k.find(#{ kind: "Thing", api_version: "example.org/v1", namespace: "default", name: "t" });
        if found.spec.size != 3 || thing.objects[0].metadata.name != "t" { throw "it is not as it was planned"; }
    "#;
    cluster.converges(script);
    let together = r#"k.apply("apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: u, namespace: more}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n", #{ wait: true });"#;
    Cluster::new().converges(&format!("{}; {together}", script.lines().take(3).collect::<Vec<_>>().join("\n")));
    let unknown = cluster.lab.plan(
        r#"kubernetes::connect().apply(#{ apiVersion: "example.org/v2", kind: "Thing", metadata: #{ name: "t", namespace: "default" } });"#,
    );
    let error = unknown.error();
    assert!(error.to_string().contains("example.org/v2 Thing: the cluster serves no such kind"), "{error:?}");
    assert!(error.causes().iter().any(|cause| cause.contains("example.org/v1")), "{error:?}");
}

#[test]
fn a_conflict_names_who_owns_which_field_in_plan_and_run_and_force_takes_it_over() {
    let cluster = Cluster::new();
    cluster.converges(r#"k.config_map(#{ namespace: "default", name: "site", data: #{ a: "1" } });"#);
    cluster.meddles("argocd", MAP, ".data.a", &json!("theirs"));
    let script = r#"kubernetes::connect().config_map(#{ namespace: "default", name: "site", data: #{ a: "1" } });"#;
    for told in [cluster.lab.plan(script), cluster.lab.run(script)] {
        let error = told.error();
        assert_eq!(error.class(), Class::Conflict);
        assert_eq!(error.message(), "ConfigMap:default/site: fields of argocd would be changed");
        assert_eq!(error.causes(), [".data.a: conflict with \"argocd\""]);
    }
    let taken =
        cluster.converges(r#"k.config_map(#{ namespace: "default", name: "site", data: #{ a: "1" }, force: true });"#);
    assert_eq!(taken, [r#"ConfigMap:default/site data.a: Some(String("theirs")) → Some(String("1"))"#]);
}

#[test]
fn no_value_of_a_secret_shows() {
    let cluster = Cluster::new();
    let script = |value: &str| {
        format!(
            r#"let k = kubernetes::connect();
               k.secret(#{{ namespace: "default", name: "key", data: #{{ token: "{value}" }} }});
               let found = k.find(#{{ kind: "Secret", namespace: "default", name: "key" }});
               info(`found ${{found}}`); info("{value}");"#
        )
    };
    for value in ["hunter-number-2", "another-long-one"] {
        let encoded = crate::inputs::formats::base64::encode(value.as_bytes());
        for told in [cluster.lab.plan(&script(value)), cluster.lab.run(&script(value)), cluster.lab.run(&script(value))]
        {
            assert!(told.value.is_ok(), "{:?}", told.value);
            let shown = told.shown();
            assert!(!shown.contains(value) && !shown.contains(&encoded), "{shown}");
        }
    }
}

#[test]
fn a_value_that_is_to_be_kept_is_never_written_over_and_others_may_come_beside_it() {
    let cluster = Cluster::new();
    let script = |data: &str| {
        format!(
            r#"kubernetes::connect().secret(#{{ namespace: "default", name: "key", keep: true, data: #{{ {data} }} }});"#
        )
    };
    assert!(cluster.lab.run(&script(r#"password: "the first one""#)).value.is_ok());
    assert!(cluster.lab.run(&script(r#"password: "the first one", more: "beside it""#)).value.is_ok());
    let other = script(r#"password: "another one", more: "beside it""#);
    for told in [cluster.lab.plan(&other), cluster.lab.run(&other)] {
        let error = told.error();
        assert_eq!(error.message(), "Secret:default/key: there is another value for password, and it is to be kept");
        assert_eq!(error.class(), Class::Conflict);
    }
    let kept = cluster.object("/api/v1/namespaces/default/secrets/key");
    assert_eq!(kept["data"]["password"], crate::inputs::formats::base64::encode(b"the first one"));
}

#[test]
fn what_is_not_known_yet_makes_a_maybe_and_is_not_sent() {
    let cluster = Cluster::new();
    let script = r#"
        let token = ensure(#{ address: "x", read: || (), want: #{ a: 1 }, create: |want| #{ token: "made-up-token" }, once: ["token"] }).after.token;
        k.secret(#{ namespace: "default", name: "key", data: #{ token: token } });"#;
    let planned = cluster.lab.plan(&format!("let k = kubernetes::connect(); {script}"));
    assert_eq!(planned.addresses(), ["x", "Secret:default/key"]);
    assert!(cluster.server.targets().iter().all(|target| !target.contains("PATCH")), "{:?}", cluster.server.targets());
}

#[test]
fn many_objects_cost_one_list_and_one_dry_run_each_and_are_changed_side_by_side() {
    let cluster = Cluster::new();
    let script = r#"
        let k = kubernetes::connect();
        let all = [];
        for n in 0..100 { all.push(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: `site-${n}`, namespace: "default" }, data: #{ a: "1" } }); }
        k.apply(all).outcomes.len"#;
    let count = || cluster.server.targets().len();
    assert_eq!(cluster.lab.run(script).json(), json!(100));
    assert!(count() <= 104, "two for the kinds, two lists, one for each: {}", count());
    let before = count();
    assert!(cluster.lab.plan(script).addresses().is_empty());
    assert!(count() - before <= 101, "a list, and one for each: {}", count() - before);
    let dry = cluster.server.targets()[before..].iter().filter(|target| target.contains("dryRun=All")).count();
    assert_eq!(dry, 100);
}

#[test]
fn an_object_that_stands_there_twice_is_refused() {
    let cluster = Cluster::new();
    let map = r#"#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "default" } }"#;
    let told = cluster.lab.plan(&format!("kubernetes::connect().apply([{map}, {map}]);"));
    assert_eq!(told.error().message(), "ConfigMap:default/site: it stands there twice");
}
