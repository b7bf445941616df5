//! Every example of the reference and of the definitions for editors is run, and every function has one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use super::project::Project;

/// An example, and the function that it explains.
struct Example {
    function: String,
    code: String,
}

impl Example {
    /// A step that runs it. One that states something must be true.
    fn step(&self, number: usize) -> String {
        let Example { function, code } = self;
        let states = code.contains(" == ") && !code.contains(';') && !code.contains("if ");
        let code = if states { format!("if !({code}) {{ fail(\"it is not true\") }}") } else { code.clone() };
        format!("step(\"example.{number}\", \"{function}\", || {{\n{code}\n}});\n")
    }

    /// What is made comes before what is changed, and what is removed comes last.
    fn order(&self) -> usize {
        match self.function.as_str() {
            "post" => 0,
            "delete" => 2,
            _ => 1,
        }
    }

    fn is_about_http(&self) -> bool {
        self.code.contains("http::")
    }

    /// These need a cluster.
    fn is_about_a_cluster(&self) -> bool {
        self.code.contains("kubernetes::")
            || self.code.split(|c: char| !c.is_alphanumeric() && c != '.').any(|word| word.starts_with("k."))
    }

    /// Simulated machines have no web to fetch from, and no git; the tests of these have a server and a real Debian. A
    /// template needs its image, which the sessions of phase 2 have.
    fn needs_web(&self) -> bool {
        ["download", "git_checkout"].contains(&self.function.as_str()) || self.code.contains("pve.template(")
    }
}

/// The functions that the definitions for editors explain, as the reference does, with their examples.
fn definitions() -> Vec<(String, Vec<Example>)> {
    let output = Project::new().homelab(&["doc", "--definitions"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let (mut functions, mut doc) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim_start) {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.strip_prefix(' ').unwrap_or(comment));
        } else if let Some(head) = line.strip_prefix("fn ") {
            let name = head.split('(').next().unwrap_or_default().to_owned();
            let doc = std::mem::take(&mut doc);
            // A property is explained where it is read.
            if !doc.is_empty() && !name.starts_with("get ") {
                functions.push((name.clone(), examples(&name, &doc)));
            }
        }
    }
    functions
}

fn examples(function: &str, doc: &[&str]) -> Vec<Example> {
    let blocks = doc.split(|line| line.starts_with("```"));
    // What stands between two fences is code: every second block.
    let code = blocks.skip(1).step_by(2).map(|lines| lines.join("\n"));
    code.map(|code| Example { function: function.to_owned(), code }).collect()
}

fn playbook(prelude: &str, examples: &[&Example]) -> String {
    let steps = examples.iter().enumerate().map(|(number, example)| example.step(number));
    std::iter::once(prelude.to_owned()).chain(steps).collect()
}

#[test]
fn every_example_runs_in_the_simulated_homelab() {
    let project = Project::homelab_itself();
    project.write("templates/motd.j2", "This is {{ name }}.\n");
    project.write("files/image.raw", "a disk\n");
    project.write("files/www/index.html", "hello\n");
    project.ends("run --sim --sim-answer-manual -q playbooks/phase3.rhai", 0);
    let all: Vec<Example> = definitions().into_iter().flat_map(|(_, examples)| examples).collect();
    let mut here: Vec<&Example> = all
        .iter()
        .filter(|example| !example.is_about_http() && !example.needs_web() && !example.is_about_a_cluster())
        .collect();
    here.sort_by_key(|example| example.order());
    assert!(here.len() > 80, "{} examples", here.len());
    project.write("playbooks/examples.rhai", &playbook("let pve = proxmox::connect();\n", &here));
    let said = project.ends("run --sim --sim-answer-manual playbooks/examples.rhai", 0);
    for number in 0..here.len() {
        assert!(said.contains(&format!(" example.{number}  ")), "example.{number} was not run\n{said}");
    }
}

#[test]
fn every_example_about_http_runs_against_a_server() {
    let server = serve();
    let all: Vec<Example> = definitions().into_iter().flat_map(|(_, examples)| examples).collect();
    let http: Vec<&Example> = all.iter().filter(|example| example.is_about_http()).collect();
    assert!(http.len() > 5, "{} examples", http.len());
    let project = Project::new();
    let text = playbook("", &http).replace("https://example.org", &format!("http://{server}"));
    project.write("playbooks/examples.rhai", &text);
    let said = project.ends("run playbooks/examples.rhai", 0);
    assert!(said.contains(&format!(" example.{}  ", http.len() - 1)), "{said}");
}

#[test]
fn every_example_about_a_cluster_is_understood() {
    let all: Vec<Example> = definitions().into_iter().flat_map(|(_, examples)| examples).collect();
    let cluster: Vec<&Example> = all.iter().filter(|example| example.is_about_a_cluster()).collect();
    assert!(cluster.len() > 10, "{} examples", cluster.len());
    let project = Project::homelab_itself();
    project.write("playbooks/examples.rhai", &playbook("let k = kubernetes::connect();\n", &cluster));
    // They have addresses and versions in them, as examples do.
    let told = project.session(&["check playbooks/examples.rhai"]);
    let complaints: Vec<&str> = told.lines().filter(|line| line.trim_start().starts_with('×')).collect();
    assert!(complaints.iter().all(|line| line.ends_with("stands in the playbook")), "{told}");
}

#[test]
fn every_function_that_is_explained_has_an_example() {
    let bare: Vec<String> =
        definitions().into_iter().filter(|(_, examples)| examples.is_empty()).map(|(name, _)| name).collect();
    assert!(bare.is_empty(), "without an example: {}", bare.join(" "));
}

/// A server on loopback that answers everything with a small document.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut length = 0;
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    let header = line.to_lowercase();
                    length = header.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap_or(0));
                    line.clear();
                }
                let mut body = vec![0; length];
                let body_read = reader.read_exact(&mut body);
                let document = r#"{"tag_name":"v1.2.3"}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{document}",
                    document.len()
                );
                let written = body_read.and_then(|()| reader.get_mut().write_all(answer.as_bytes()));
                // The client judges what it got.
                drop(written);
            });
        }
    });
    address
}
