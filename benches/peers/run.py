#!/usr/bin/env python3
"""homelab beside ansible-core, Mitogen, pyinfra and plain ssh, on the same real sshds, in one run.

    cargo build --release
    python3 benches/peers/run.py                          all of it: about an hour
    python3 benches/peers/run.py --works 1x100 --delays 0 --only floor,homelab

Each row is one work at one round trip. Every tool goes through the same delaying proxy, which also counts the connections.
After each first run the files are compared with what was asked for, and after each no-op it is checked that none was touched.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import work as works  # noqa: E402
from delay import Delay  # noqa: E402

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
FIRST_PORT = 23100
FIRST_DELAYED_PORT = 23500


def environment(home):
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return keep | {"HOME": str(home), "USER": "root", "TMPDIR": str(home)}


class Servers:
    """So many real sshds on the loopback, and a key that they let in."""

    def __init__(self, folder, count):
        self.folder, self.processes = folder, []
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        program = shutil.which("sshd", path="/usr/sbin:" + os.environ["PATH"])
        if program is None:
            sys.exit("peers: there is no sshd: apt-get install openssh-server")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        key = (folder / "key.pub").read_text()
        (folder / "authorized_keys").write_text(key)
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        known = "".join(f"[127.0.0.1]:{FIRST_DELAYED_PORT + n} {host_key}\n" for n in range(count))
        (folder / ".ssh").mkdir()
        (folder / ".ssh/known_hosts").write_text(known)
        self.config = folder / "ssh_config"
        self.config.write_text(
            f"Host *\n  User {user()}\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/.ssh/known_hosts\n  StrictHostKeyChecking yes\n  GlobalKnownHostsFile /dev/null\n"
        )
        for n in range(count):
            config = folder / f"sshd-{n}"
            config.write_text(
                f"ListenAddress 127.0.0.1\nPort {FIRST_PORT + n}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
                f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPermitRootLogin yes\nUseDNS no\n"
                f"SetEnv HOME={folder}\nPasswordAuthentication no\nMaxStartups 200\nSubsystem sftp internal-sftp\n"
            )
            self.processes.append(subprocess.Popen([program, "-D", "-q", "-f", config], stdin=subprocess.DEVNULL))
        time.sleep(0.5)
        if any(process.poll() is not None for process in self.processes):
            sys.exit("peers: an sshd did not start")

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def user():
    return os.environ.get("USER", "root") if os.geteuid() else "root"


class Memory(threading.Thread):
    """The most memory that a process and its descendants had at once: their proportional sets, looked at now and then."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.over = pid, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.25):
            self.peak = max(self.peak, sum(map(resident, family(self.pid))))

    def end(self):
        self.over.set()
        self.join()
        return self.peak


def family(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def resident(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


class Timed:
    """What one run took."""

    def __init__(self, seconds, kilobytes, connections):
        self.seconds, self.kilobytes, self.connections = seconds, kilobytes, connections


class Bench:
    """One work at one round trip: everything that runs it."""

    def __init__(self, arguments, servers, folder, work, delay):
        self.arguments, self.servers, self.folder, self.work, self.delay = arguments, servers, folder, work, delay
        self.root = str(folder / "hosts")
        self.bin = arguments.venv / "bin"
        self.proxy = Delay(FIRST_DELAYED_PORT, [FIRST_PORT + n for n in range(work.hosts)], delay)
        self.rows = []

    # Ground

    def reset(self):
        shutil.rmtree(self.root, ignore_errors=True)
        for host in range(self.work.hosts):
            os.makedirs(self.work.folder(self.root, host))
            for path, text in works.edited(self.work, self.root, host).items():
                Path(path).write_text(text)

    def verify(self, who):
        for host in range(self.work.hosts):
            for path, wanted in works.expected(self.work, self.root, host).items():
                path = Path(path)
                kind = "link" if path.is_symlink() else "directory" if path.is_dir() else None
                found = kind or (path.read_text() if path.is_file() else "nothing")
                if found != wanted:
                    sys.exit(f"peers: {who} left {path} as {found[:60]!r}")
            for path, text in works.edited(self.work, self.root, host).items():
                if Path(path).read_text() == text:
                    sys.exit(f"peers: {who} did not edit {path}")

    def stamps(self):
        entries = sorted(entry for folder, _, names in os.walk(self.root) for entry in [f"{folder}/{n}" for n in names])
        return [(entry, os.lstat(entry).st_ino, os.lstat(entry).st_mtime_ns) for entry in entries]

    # Running

    def run(self, command, env=None, cwd=None, stdin=None, track=False):
        self.proxy.forget()
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], env=environment(self.folder) | (env or {}), cwd=cwd,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        memory = Memory(process.pid) if track else None
        if memory:
            memory.start()
        said, _ = process.communicate(stdin)
        seconds = time.perf_counter() - began
        peak = memory.end() if memory else 0
        if process.returncode != 0:
            sys.exit(f"peers: {command} ended with {process.returncode}:\n{said.decode()[-3000:]}")
        return Timed(seconds, peak, max(self.proxy.connections()))

    def alone(self, command, **options):
        """The same for one process that makes no others: its own peak is asked of the kernel."""
        self.proxy.forget()
        output = tempfile.TemporaryFile()
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], env=environment(self.folder) | options.get("env", {}),
            cwd=options.get("cwd"), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"peers: {command} ended with {process.returncode}:\n{output.read().decode()[-3000:]}")
        return Timed(seconds, usage.ru_maxrss, max(self.proxy.connections()))

    def first_and_again(self, name, run, times, forget=lambda: None, after=lambda: None):
        """First runs on fresh hosts, then runs with nothing to do."""
        first, again = [], []
        for _ in range(times):
            self.reset()
            forget()
            first.append(run())
            after()
            self.verify(name)
        before = self.stamps()
        for _ in range(times):
            again.append(run())
            after()
        if self.stamps() != before:
            sys.exit(f"peers: {name} changed something on a run that had nothing to do")
        self.note(name + ", first run", first)
        self.note(name + ", no-op", again)

    def note(self, name, timed):
        seconds = statistics.median(one.seconds for one in timed)
        spread = (min(one.seconds for one in timed), max(one.seconds for one in timed))
        self.rows.append((name, seconds, spread, len(timed), max(one.kilobytes for one in timed), timed[-1].connections))
        print(f"    {self.rows[-1][0]:<40} {seconds:9.3f} s", flush=True)

    # Contenders

    def floor(self):
        self.reset()
        for host in range(self.work.hosts):
            for path, text in works.expected(self.work, self.root, host).items():
                if text == "directory":
                    os.mkdir(path)
                elif text == "link":
                    os.symlink(path, path)
                else:
                    Path(path).write_text(text)
        fast = self.arguments.repeat
        stock = ["-F", self.servers.config]
        x25519 = stock + ["-o", "KexAlgorithms=curve25519-sha256"]
        self.note("floor: ssh, cold", [self.on_all(stock, works.check) for _ in range(fast)])
        self.note("floor: ssh, cold, x25519", [self.on_all(x25519, works.check) for _ in range(fast)])
        masters = [
            stock + ["-o", f"ControlPath={self.folder}/master-{n}", "-p", str(FIRST_DELAYED_PORT + n), "127.0.0.1"]
            for n in range(self.work.hosts)
        ]
        for master in masters:
            subprocess.run(["ssh", "-f", "-N", "-o", "ControlMaster=yes", *map(str, master)], check=True, stdin=subprocess.DEVNULL)
        warm = stock + ["-o", "ControlPath=" + str(self.folder / "master-{n}")]
        self.note("floor: ssh, warm", [self.on_all(warm, works.check) for _ in range(fast)])
        for master in masters:
            subprocess.run(["ssh", "-O", "exit", *map(str, master)], check=True, stderr=subprocess.DEVNULL)
        if not self.work.mixed:
            bundles = [self.bundle(n) for n in range(self.work.hosts)]
            timed = []
            for _ in range(fast):
                self.reset()
                timed.append(self.on_all(stock, works.unpack, bundles))
            self.note("floor: tar through ssh, cold", timed)

    def bundle(self, host):
        folder = self.work.folder(self.root, host)
        return subprocess.run(["tar", "-c", "-C", folder, "."], check=True, capture_output=True).stdout

    def on_all(self, options, command, bundles=None):
        """ssh to all hosts at once."""
        self.proxy.forget()
        began = time.perf_counter()
        processes = []
        for n in range(self.work.hosts):
            words = [str(word).replace("{n}", str(n)) for word in options]
            line = ["ssh", *words, "-p", str(FIRST_DELAYED_PORT + n), "127.0.0.1", command(self.work, self.root, n)]
            source = subprocess.PIPE if bundles else subprocess.DEVNULL
            processes.append(subprocess.Popen(line, stdin=source, stdout=subprocess.PIPE))
        threads = [
            threading.Thread(target=process.communicate, args=(bundles[n] if bundles else None,))
            for n, process in enumerate(processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        if any(process.returncode for process in processes):
            sys.exit("peers: a floor failed")
        return Timed(seconds, 0, max(self.proxy.connections()))

    def homelab(self):
        for together in [False] if self.work.mixed else [False, True]:
            name = "homelab, h.files" if together else "homelab, loop of h.file" if not self.work.mixed else "homelab"
            project = self.folder / f"homelab-{together}"
            (project / "playbooks").mkdir(parents=True, exist_ok=True)
            playbook = project / "playbooks/work.rhai"
            text = works.homelab(self.work, self.root, FIRST_DELAYED_PORT, together)
            playbook.write_text(text)
            line = [self.arguments.homelab, "run", "-q", "--jobs", max(self.work.hosts, 1), "playbooks/work.rhai"]
            env = {"HOMELAB_SSH_KEY": str(self.folder / "key")}
            forget = lambda: shutil.rmtree(project / ".homelab", ignore_errors=True)  # noqa: E731
            run = lambda: self.alone(line, env=env, cwd=project)  # noqa: E731
            self.first_and_again(name, run, self.arguments.repeat, forget)
            if not together:
                self.watched(name, project, playbook, text, env)

    def watched(self, name, project, playbook, text, env):
        """Runs again at each save. What counts is the run, which ends with its summary; the wait for more saves does not."""
        line = [str(self.arguments.homelab), "run", "--watch", "--jobs", str(max(self.work.hosts, 1)), "playbooks/work.rhai"]
        process = subprocess.Popen(
            line, cwd=project, env=environment(self.folder) | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        runs, saves = [], []

        def hear(what):
            for said in process.stdout:
                if what in said:
                    return time.perf_counter()
            sys.exit(f"peers: homelab --watch never said `{what}`")

        hear("watching")
        for save in range(self.arguments.repeat + 1):
            self.proxy.forget()
            saved = time.perf_counter()
            playbook.write_text(text + f"// {save}\n")
            began = hear("running again")
            ended = hear("watching")
            runs.append(Timed(ended - began, 0, max(self.proxy.connections())))
            saves.append(Timed(ended - saved, 0, max(self.proxy.connections())))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        self.note(name + ", watch: the run", runs[1:])
        self.note(name + ", watch: from the save", saves[1:])

    def ansible(self, mitogen=False):
        name = "mitogen" if mitogen else "ansible-core"
        folder = self.folder / name
        (folder / "control").mkdir(parents=True, exist_ok=True)
        plugins = None
        if mitogen:
            plugins = next(self.arguments.venv.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
        inventory = works.ansible_inventory(
            self.work, FIRST_DELAYED_PORT, str(self.folder / "key"), self.servers.config, shutil.which("python3")
        )
        (folder / "inventory.json").write_text(inventory)
        (folder / "work.json").write_text(works.ansible(self.work, self.root))
        (folder / "ansible.cfg").write_text(works.ansible_settings(self.work, folder, plugins))
        env = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder)}
        line = [self.bin / "ansible-playbook", "-i", "inventory.json", "work.json"]

        def hang_up():
            for socket_path in (folder / "control").iterdir():
                exit_ = ["ssh", "-o", f"ControlPath={socket_path}", "-O", "exit", "x"]
                subprocess.run(exit_, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

        run = lambda: self.run(line, env=env, cwd=folder, track=True)  # noqa: E731
        self.first_and_again(name, run, self.arguments.repeat_slow, after=hang_up)

    def mitogen(self):
        self.ansible(mitogen=True)

    def pyinfra(self, nodelay=False):
        name = "pyinfra, TCP_NODELAY patched in" if nodelay else "pyinfra, as it ships"
        folder = self.folder / "pyinfra"
        folder.mkdir(exist_ok=True)
        known_hosts = str(self.folder / ".ssh/known_hosts")
        inventory = works.pyinfra_inventory(self.work, FIRST_DELAYED_PORT, str(self.folder / "key"), known_hosts)
        (folder / "inventory.py").write_text(inventory)
        (folder / "work.py").write_text(works.pyinfra(self.work, self.root))
        start = [self.bin / "python", HERE / "pyinfra_nodelay.py"] if nodelay else [self.bin / "pyinfra"]
        line = [*start, "-y", "--parallel", self.work.hosts, "inventory.py", "work.py"]
        self.first_and_again(name, lambda: self.alone(line, cwd=folder), self.arguments.repeat_slow)

    def pyinfra_nodelay(self):
        self.pyinfra(nodelay=True)

    # Results

    def table(self):
        seconds = {name: median for name, median, *_ in self.rows}
        floors = {
            "cold": seconds.get("floor: ssh, cold"), "warm": seconds.get("floor: ssh, warm"),
            "tar": seconds.get("floor: tar through ssh, cold"),
        }
        homelab = "homelab" if self.work.mixed else "homelab, loop of h.file"
        own = {end: seconds.get(f"{homelab}, {end}") for end in ("first run", "no-op")}
        print(f"\n{self.work.name}, {self.delay} ms round trip")
        heads = ["", "seconds", "min", "max", "n", "x cold", "x warm", "x tar", "x homelab", "MiB", "conns"]
        print("  {:<42}{:>9}{:>9}{:>9}{:>4}{:>9}{:>9}{:>9}{:>11}{:>7}{:>7}".format(*heads))
        for name, median, (least, most), times, kilobytes, connections in self.rows:
            ratio = lambda other: f"{median / other:.2f}" if other else ""  # noqa: E731
            same = next((value for end, value in own.items() if name.endswith(end)), None)
            print(
                f"  {name:<42}{median:>9.3f}{least:>9.3f}{most:>9.3f}{times:>4}{ratio(floors['cold']):>9}"
                f"{ratio(floors['warm']):>9}{ratio(floors['tar']):>9}{ratio(same):>11}"
                f"{kilobytes / 1024 if kilobytes else 0:>7.0f}{connections:>7}",
                flush=True,
            )


CONTENDERS = ["floor", "homelab", "pyinfra_nodelay", "pyinfra", "mitogen", "ansible"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", default="1x100,mixed,10x20,50x10", help="which, of 1x100,mixed,10x20,50x10")
    parser.add_argument("--delays", default="0,5,30", help="round trips in ms")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="which, of " + ",".join(CONTENDERS))
    parser.add_argument("--repeat", type=int, default=7, help="how often the fast ones are run")
    parser.add_argument("--repeat-slow", type=int, default=1, help="how often ansible, Mitogen and pyinfra are run")
    parser.add_argument("--homelab", type=Path, default=REPOSITORY / "target/release/homelab", help="the program")
    parser.add_argument("--venv", type=Path, default=REPOSITORY / "target/peers", help="where the peers are installed")
    return parser.parse_args()


def install(venv):
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)


def main():
    wanted = arguments()
    contenders = wanted.only.split(",")
    if set(contenders) - {"floor", "homelab"}:
        install(wanted.venv)
    if "homelab" in contenders and not wanted.homelab.exists():
        sys.exit(f"peers: there is no {wanted.homelab}: cargo build --release")
    wanted.homelab = wanted.homelab.resolve()
    wanted.venv = wanted.venv.resolve()
    by_name = dict(zip(["1x100", "mixed", "10x20", "50x10"], works.ALL))
    chosen = [by_name[name] for name in wanted.works.split(",")]
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        folder = Path(folder)
        servers = Servers(folder, max(work.hosts for work in chosen))
        benches = []
        try:
            for work in chosen:
                for delay in map(int, wanted.delays.split(",")):
                    print(f"{work.name}, {delay} ms", flush=True)
                    bench = Bench(wanted, servers, folder, work, delay)
                    try:
                        for contender in contenders:
                            getattr(bench, contender)()
                    finally:
                        bench.proxy.stop()
                    benches.append(bench)
                    bench.table()
        finally:
            servers.stop()
        if len(benches) > 1:
            print("\nAll of it")
            for bench in benches:
                bench.table()


main()
