//! The server as clients see it.

mod stock;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Sig};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::OpenFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::machine::{Machine, SharedMachine};
use super::super::random;
use super::super::seed::{CloudInit, Hardware};
use super::{Forward, Observer, Options, serve_ssh_with};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn command(&self, host: &str, user: &str, command: &str, exit: i32, mutated: bool) {
        let mutated = if mutated { " mutated" } else { "" };
        self.0.lock().unwrap().push(format!("{user}@{host} {command} = {exit}{mutated}"));
    }
}

struct Accept;

impl client::Handler for Accept {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

fn key() -> PrivateKey {
    let mut seed = [0; 32];
    random::fill(&mut seed);
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

fn machine(key: &PrivateKey) -> SharedMachine {
    Arc::new(Mutex::new(Machine::guest(
        CloudInit {
            hostname: "k3s-cp-01".to_owned(),
            user: "ubuntu".to_owned(),
            ssh_keys: vec![key.public_key().to_openssh().unwrap()],
            address: Some("10.20.11.31/24".to_owned()),
            gateway: Some("10.20.11.1".to_owned()),
            nameserver: Some("10.20.11.1".to_owned()),
            searchdomain: Some("home.arpa".to_owned()),
            ..CloudInit::default()
        },
        &Hardware::default(),
    )))
}

struct Rig {
    client: Handle<Accept>,
    machine: SharedMachine,
    log: Arc<Log>,
}

async fn connect(options: Options) -> Rig {
    connect_to(options, "true").await
}

/// The same, after the superuser has run a command on the machine.
async fn connect_to(options: Options, prepare: &str) -> Rig {
    let key = key();
    let machine = machine(&key);
    machine.lock().unwrap().run("root", prepare, b"");
    let log = Arc::new(Log::default());
    let client = login(&machine, &log, options, "ubuntu", key).await.expect("the key is authorized");
    Rig { client, machine, log }
}

async fn login(
    machine: &SharedMachine,
    log: &Arc<Log>,
    options: Options,
    user: &str,
    key: PrivateKey,
) -> Option<Handle<Accept>> {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(serve_ssh_with(far, machine.clone(), log.clone(), options));
    let mut client = client::connect_stream(Arc::default(), near, Accept).await.unwrap();
    let verdict = client.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::new(key), None)).await.unwrap();
    verdict.success().then_some(client)
}

/// Standard output, standard error and exit status of a command.
async fn run(client: &Handle<Accept>, command: &str, stdin: &[u8]) -> (String, String, Option<u32>) {
    let channel = client.channel_open_session().await.unwrap();
    channel.exec(true, command).await.unwrap();
    channel.data(stdin).await.unwrap();
    channel.eof().await.unwrap();
    finish(channel).await
}

async fn finish(mut channel: Channel<client::Msg>) -> (String, String, Option<u32>) {
    let (mut out, mut err, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => exit = Some(exit_status),
            _ => {}
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_output_errors_and_status() {
    let rig = connect(Options::default()).await;
    let answer = run(&rig.client, "hostname -f; id -un; cat; echo oops >&2; exit 3", b"from stdin\n").await;
    assert_eq!(answer, ("k3s-cp-01.home.arpa\nubuntu\nfrom stdin\n".to_owned(), "oops\n".to_owned(), Some(3)));
    let log = rig.log.0.lock().unwrap().clone();
    assert_eq!(log, ["ubuntu@k3s-cp-01 hostname -f; id -un; cat; echo oops >&2; exit 3 = 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observer_hears_whether_a_command_changed_anything() {
    let rig = connect(Options::default()).await;
    run(&rig.client, "sudo -n sh -c 'cat /etc/shadow > /dev/null; echo x > /tmp/scratch'", b"").await;
    run(&rig.client, "echo x > file", b"").await;
    let log = rig.log.0.lock().unwrap().clone();
    assert!(log[0].ends_with("= 0"), "{log:?}");
    assert!(log[1].ends_with("= 0 mutated"), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_authorized_key_gets_in() {
    let (right, wrong) = (key(), key());
    let machine = machine(&right);
    let log = Arc::new(Log::default());
    assert!(login(&machine, &log, Options::default(), "ubuntu", wrong).await.is_none());
    assert!(login(&machine, &log, Options::default(), "root", right.clone()).await.is_none());
    assert!(login(&machine, &log, Options::default(), "ubuntu", right.clone()).await.is_some());
    machine.lock().unwrap().run("ubuntu", "chmod go+w ~/.ssh/authorized_keys", b"");
    assert!(login(&machine, &log, Options::default(), "ubuntu", right).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subshell_of_a_shell_that_stays_is_heard_of_as_a_command() {
    let rig = connect(Options::default()).await;
    let requests = "( exit 3 ) </dev/null\nprintf 'mark %s\\n' $?\n( echo x > file ) </dev/null\necho done\n";
    assert_eq!(run(&rig.client, "exec sh", requests.as_bytes()).await.0, "mark 3\ndone\n");
    let log = rig.log.0.lock().unwrap().clone();
    let told = ["( exit 3 ) </dev/null = 3", "( echo x > file ) </dev/null = 0 mutated"];
    assert_eq!(log, told.map(|line| format!("ubuntu@k3s-cp-01 {line}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shell_that_stays_changes_by_itself_is_heard_of_at_its_end() {
    let rig = connect(Options::default()).await;
    run(&rig.client, "exec sh", b"( true )\necho x > file\n").await;
    let log = rig.log.0.lock().unwrap().clone();
    assert_eq!(log, ["( true ) = 0", "exec sh = 0 mutated"].map(|line| format!("ubuntu@k3s-cp-01 {line}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_between_commands_breaks_between_those_of_a_shell_that_stays() {
    let rig = connect(Options { commands: Some(2), ..Options::default() }).await;
    let channel = rig.client.channel_open_session().await.unwrap();
    channel.exec(true, "exec sh").await.unwrap();
    channel.data(&b"( echo one )\n( echo two )\n( echo three )\n"[..]).await.unwrap();
    // What the last answers were may be lost with the connection; that they were given is not.
    finish(channel).await;
    let log = rig.log.0.lock().unwrap().clone();
    assert_eq!(log, ["( echo one ) = 0", "( echo two ) = 0"].map(|line| format!("ubuntu@k3s-cp-01 {line}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_is_not_overwritten_where_that_is_forbidden() {
    let rig = connect(Options::default()).await;
    let script = "set -C; echo 1 > a; echo 2 > a || echo no; echo 3 > /dev/null; set +C; echo 4 > a; cat a";
    let (out, err, _) = run(&rig.client, script, b"").await;
    assert_eq!((out.as_str(), err.as_str()), ("no\n4\n", "sh: 1: cannot create a: File exists\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resident_shell_runs_commands_as_they_arrive() {
    let rig = connect(Options::default()).await;
    let mut channel = rig.client.channel_open_session().await.unwrap();
    channel.exec(true, "sh").await.unwrap();
    for (command, answer) in
        [("x=1; echo ready\n", "ready\n"), ("read -r line\nhello there\n", ""), ("echo $x $line\n", "1 hello there\n")]
    {
        channel.data(command.as_bytes()).await.unwrap();
        let mut out = String::new();
        while out.len() < answer.len() {
            match channel.wait().await.expect("the shell lives") {
                ChannelMsg::Data { data } => out.push_str(std::str::from_utf8(&data).unwrap()),
                ChannelMsg::Success | ChannelMsg::WindowAdjusted { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(out, answer);
    }
    channel.data(&b"exit 7\n"[..]).await.unwrap();
    assert_eq!(finish(channel).await.2, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_channels_run_at_once_and_one_too_many_is_refused() {
    let rig = connect_to(Options::default(), "echo MaxSessions 3 > /etc/ssh/sshd_config.d/few.conf").await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        let channel = rig.client.channel_open_session().await.unwrap();
        channel.exec(true, "cat").await.unwrap();
        channels.push(channel);
    }
    assert!(rig.client.channel_open_session().await.is_err());
    for (number, channel) in channels.into_iter().enumerate() {
        channel.data(format!("{number}").as_bytes()).await.unwrap();
        channel.eof().await.unwrap();
        assert_eq!(finish(channel).await.0, number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_pass_through_unchanged() {
    let rig = connect(Options::default()).await;
    let data = "0123456789abcdef".repeat(256 * 1024).into_bytes();
    let (out, _, exit) = run(&rig.client, "cat > big && wc -c < big && sha256sum < big", &data).await;
    assert_eq!(exit, Some(0));
    assert!(out.starts_with("4194304\n"), "{out}");
    let (back, ..) = run(&rig.client, "cat big", b"").await;
    assert!(back.as_bytes() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_command_and_is_reported() {
    let rig = connect(Options::default()).await;
    let mut channel = rig.client.channel_open_session().await.unwrap();
    channel.exec(true, "sleep 600").await.unwrap();
    channel.signal(Sig::TERM).await.unwrap();
    let mut signal = None;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExitSignal { signal_name, .. } = message {
            signal = Some(format!("{signal_name:?}"));
        }
    }
    assert_eq!(signal.as_deref(), Some("TERM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_superuser_hears_no_signal() {
    let key = key();
    let machine = machine(&key);
    machine.lock().unwrap().run("root", "cd; mkdir -p .ssh; cp /home/ubuntu/.ssh/authorized_keys .ssh", b"");
    let client =
        login(&machine, &Arc::default(), Options::default(), "root", key).await.expect("the key is authorized");
    let channel = client.channel_open_session().await.unwrap();
    channel.exec(true, "id -un; cat; echo to the end").await.unwrap();
    channel.signal(Sig::TERM).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(finish(channel).await, ("root\nto the end\n".to_owned(), String::new(), Some(0)));
}

/// Looks until a file of the machine is there.
async fn appears(machine: &SharedMachine, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !machine.lock().unwrap().fs.exists(path) {
        assert!(Instant::now() < deadline, "{path} is not there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_on_when_its_client_goes_away() {
    let rig = connect(Options::default()).await;
    let channel = rig.client.channel_open_session().await.unwrap();
    // It is told of it only by its input, which ends, and by its output, which nobody reads.
    let command = "touch begun; cat; touch read; (while echo unheard; do sleep 0.01; done; touch written); touch ended";
    channel.exec(true, command).await.unwrap();
    appears(&rig.machine, "/home/ubuntu/begun").await;
    drop((channel, rig.client));
    appears(&rig.machine, "/home/ubuntu/ended").await;
    let machine = rig.machine.lock().unwrap();
    assert!(machine.fs.exists("/home/ubuntu/read") && !machine.fs.exists("/home/ubuntu/written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_ends_with_the_power() {
    for end in [Machine::switch_off, Machine::reboot] {
        let rig = connect(Options::default()).await;
        let channel = rig.client.channel_open_session().await.unwrap();
        channel.exec(true, "touch begun; sleep 600; touch ended").await.unwrap();
        appears(&rig.machine, "/home/ubuntu/begun").await;
        drop((channel, rig.client));
        end(&mut rig.machine.lock().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while rig.log.0.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(*rig.log.0.lock().unwrap(), ["ubuntu@k3s-cp-01 touch begun; sleep 600; touch ended = 143 mutated"]);
        assert!(!rig.machine.lock().unwrap().fs.exists("/home/ubuntu/ended"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_cuts_the_connection_and_empties_tmp() {
    let rig = connect(Options::default()).await;
    let before = rig.machine.lock().unwrap().run("root", "cat /proc/sys/kernel/random/boot_id", b"").stdout;
    let (_, _, exit) = run(&rig.client, "touch /tmp/gone kept; sudo -n systemctl reboot", b"").await;
    assert_eq!(exit, Some(0));
    tokio::time::timeout(Duration::from_secs(10), async {
        while !rig.client.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the connection ends");
    let after = rig.machine.lock().unwrap().run(
        "root",
        "cat /proc/sys/kernel/random/boot_id; ls -A /tmp /home/ubuntu/kept",
        b"",
    );
    assert_ne!(before, after.stdout[..before.len()]);
    assert_eq!(String::from_utf8_lossy(&after.stdout[before.len()..]), "/home/ubuntu/kept\n\n/tmp:\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_is_refused_unless_somebody_does_it() {
    let rig = connect(Options::default()).await;
    assert!(rig.client.channel_open_direct_tcpip("10.20.11.32", 22, "127.0.0.1", 1).await.is_err());
    let forward: fn(String, u16) -> Forward = |host, port| {
        Box::pin(async move {
            let (near, mut far): (DuplexStream, DuplexStream) = duplex(1024);
            tokio::spawn(async move { far.write_all(format!("{host}:{port}").as_bytes()).await });
            Ok(near)
        })
    };
    let rig = connect(Options { forwarder: Some(Arc::new(forward)), ..Options::default() }).await;
    let channel = rig.client.channel_open_direct_tcpip("10.20.11.32", 22, "127.0.0.1", 1).await.unwrap();
    let mut text = String::new();
    channel.into_stream().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "10.20.11.32:22");
    let options = Options { forwarder: Some(Arc::new(forward)), ..Options::default() };
    let rig = connect_to(options, "echo AllowTcpForwarding no > /etc/ssh/sshd_config.d/no.conf").await;
    assert!(rig.client.channel_open_direct_tcpip("10.20.11.32", 22, "127.0.0.1", 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_where_the_machine_takes_passwords() {
    let allow = "echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/10-passwords.conf";
    for (prepare, user, password, expected) in [
        ("true", "ubuntu", "right", false),
        (allow, "ubuntu", "wrong", false),
        (allow, "ubuntu", "right", true),
        (allow, "root", "right", false),
        (allow, "nobody-there", "right", false),
    ] {
        let machine = machine(&key());
        machine.lock().unwrap().run("root", prepare, b"");
        let options = Options { passwords: Some(Arc::new(|_, password| password == "right")), ..Options::default() };
        let (near, far) = duplex(64 * 1024);
        tokio::spawn(serve_ssh_with(far, machine, Arc::new(Log::default()), options));
        let mut client = client::connect_stream(Arc::default(), near, Accept).await.unwrap();
        let verdict = client.authenticate_password(user, password).await.unwrap();
        assert_eq!(verdict.success(), expected, "{prepare}, {user} with the password {password}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_writes_lists_renames_and_reads() {
    let rig = connect(Options::default()).await;
    let channel = rig.client.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let sftp = SftpSession::new(channel.into_stream()).await.unwrap();
    assert_eq!(sftp.canonicalize(".").await.unwrap(), "/home/ubuntu");
    sftp.create_dir("dir").await.unwrap();
    let flags = OpenFlags::CREATE | OpenFlags::WRITE | OpenFlags::TRUNCATE;
    let mut file = sftp.open_with_flags("dir/a", flags).await.unwrap();
    file.write_all(b"content").await.unwrap();
    file.shutdown().await.unwrap();
    sftp.rename("dir/a", "dir/b").await.unwrap();
    let names: Vec<String> = sftp.read_dir("dir").await.unwrap().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(sftp.read("dir/b").await.unwrap(), b"content");
    assert!(sftp.read("/etc/shadow").await.is_err());
    assert_eq!(run(&rig.client, "stat -c '%U %s' dir/b", b"").await.0, "ubuntu 7\n");
    let log = rig.log.0.lock().unwrap().join("\n");
    assert!(log.contains("sftp write /home/ubuntu/dir/a = 0 mutated"), "{log}");
    assert!(log.contains("sftp read /etc/shadow = 1\n"), "{log}");
}
