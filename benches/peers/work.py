"""What is to be done on the hosts, and how each program says it."""

import json
import os
import textwrap


class Work:
    """So many hosts, each with so many resources in a folder of its own."""

    def __init__(self, name, hosts, files, mixed=False):
        self.name, self.hosts, self.files, self.mixed = name, hosts, files, mixed

    def resources(self):
        return 100 if self.mixed else self.files * self.hosts

    def folder(self, root, host):
        return f"{root}/host-{host}"


ALL = [
    Work("1 host x 100 files", 1, 100),
    Work("1 host x 100 mixed", 1, 40, mixed=True),
    Work("10 hosts x 20 files", 10, 20),
    Work("50 hosts x 10 files", 50, 10),
]


def content(host, number):
    lines = [f"# file {number} of host-{host}"] + [f"key{line} = value {number * 7 + line}" for line in range(12)]
    return "\n".join(lines) + "\n"


# The mixed host: 40 files, 20 folders, 10 links, 10 lines, 10 blocks, 10 guarded commands.


def expected(work, root, host):
    """What must be there at the end: path -> content, or a word for what is no file."""
    folder = work.folder(root, host)
    wanted = {f"{folder}/file-{n}.conf": content(host, n) for n in range(work.files)}
    if work.mixed:
        wanted |= {f"{folder}/dir-{n}": "directory" for n in range(20)}
        wanted |= {f"{folder}/link-{n}": "link" for n in range(10)}
        wanted |= {f"{folder}/done-{n}": "" for n in range(10)}
    return wanted


def edited(work, root, host):
    """Files that are there before, and to which lines and blocks are added."""
    if not work.mixed:
        return {}
    folder = work.folder(root, host)
    names = [f"{folder}/{kind}-{n}.txt" for kind in ("line", "block") for n in range(10)]
    return {name: "first = 1\nsecond = 2\n" for name in names}


# homelab


def homelab(work, root, first_port, together=False):
    mixed = """
        for n in 0..20 { h.directory(#{ path: `${folder}/dir-${n}`, mode: "0750" }); }
        for n in 0..10 { h.link(#{ path: `${folder}/link-${n}`, target: `${folder}/file-${n}.conf` }); }
        for n in 0..10 { h.line(#{ path: `${folder}/line-${n}.txt`, line: `third = ${n}` }); }
        for n in 0..10 { h.block(#{ path: `${folder}/block-${n}.txt`, name: "bench", content: `a = ${n}` + "\\n" + `b = ${n}` + "\\n" }); }
        for n in 0..10 { h.run(`touch ${folder}/done-${n}`, #{ creates: `${folder}/done-${n}` }); }
    """
    plain = f"""
        for n in 0..{work.files} {{
            h.file(#{{ path: `${{folder}}/file-${{n}}.conf`, content: content(host, n), mode: "0644" }});
        }}
        {mixed if work.mixed else ""}
    """
    bundle = f"""
        let files = #{{}};
        for n in 0..{work.files} {{ files[`file-${{n}}.conf`] = content(host, n); }}
        h.files(#{{ path: folder, files: files, mode: "0644" }});
    """
    return f"""
fn content(host, n) {{
    let text = `# file ${{n}} of host-${{host}}` + "\\n";
    for line in 0..12 {{ text += `key${{line}} = value ${{n * 7 + line}}` + "\\n"; }}
    text
}}

let numbers = [];
for n in 0..{work.hosts} {{ numbers.push(n); }}
step("files", "files", || {{
    parallel(numbers, |host| {{
        let h = ssh::host(#{{ name: `host-${{host}}`, address: "127.0.0.1", port: {first_port} + host, user: "root" }});
        let folder = `{root}/host-${{host}}`;
        {bundle if together else plain}
    }});
}});
"""


# ansible


def ansible_inventory(work, first_port, key, config, python):
    hosts = {
        f"host-{host}": {"ansible_host": "127.0.0.1", "ansible_port": first_port + host, "number": host}
        for host in range(work.hosts)
    }
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": key,
        "ansible_ssh_common_args": f"-F {config}",
        "ansible_python_interpreter": python,
    }
    return json.dumps({"all": {"hosts": hosts, "vars": variables}})


def ansible(work, root):
    folder = root + "/host-{{ number }}"
    lines = "\n".join(["# file {{ item }} of host-{{ number }}"] + [
        "key%d = value {{ item * 7 + %d }}" % (line, line) for line in range(12)
    ])
    tasks = [
        {
            "copy": {"dest": folder + "/file-{{ item }}.conf", "content": lines + "\n", "mode": "0644"},
            "loop": list(range(work.files)),
        }
    ]
    if work.mixed:
        tasks += [
            {"file": {"path": folder + "/dir-{{ item }}", "state": "directory", "mode": "0750"}, "loop": list(range(20))},
            {
                "file": {
                    "path": folder + "/link-{{ item }}", "src": folder + "/file-{{ item }}.conf", "state": "link",
                },
                "loop": list(range(10)),
            },
            {"lineinfile": {"path": folder + "/line-{{ item }}.txt", "line": "third = {{ item }}"}, "loop": list(range(10))},
            {
                "blockinfile": {
                    "path": folder + "/block-{{ item }}.txt", "block": "a = {{ item }}\nb = {{ item }}\n",
                },
                "loop": list(range(10)),
            },
            {
                "shell": "touch " + folder + "/done-{{ item }}",
                "args": {"creates": folder + "/done-{{ item }}"},
                "loop": list(range(10)),
            },
        ]
    return json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])


def ansible_settings(work, folder, mitogen_plugins=None):
    strategy = f"strategy_plugins = {mitogen_plugins}\nstrategy = mitogen_linear\n" if mitogen_plugins else ""
    return textwrap.dedent(
        f"""\
        [defaults]
        forks = {max(work.hosts, 5)}
        gathering = explicit
        host_key_checking = True
        display_skipped_hosts = False
        stdout_callback = minimal
        retry_files_enabled = False
        deprecation_warnings = False
        """
    ) + strategy + textwrap.dedent(
        f"""\
        [ssh_connection]
        pipelining = True
        control_path_dir = {folder}/control
        ssh_args = -o ControlMaster=auto -o ControlPersist=60s
        """
    )


# pyinfra


def pyinfra_inventory(work, first_port, key, known_hosts):
    hosts = [
        (f"host-{host}", {"ssh_hostname": "127.0.0.1", "ssh_port": first_port + host, "number": host})
        for host in range(work.hosts)
    ]
    shared = {
        "ssh_user": "root",
        "ssh_key": key,
        "ssh_known_hosts_file": known_hosts,
        "ssh_strict_host_key_checking": "yes",
    }
    return f"hosts = ({hosts!r}, {shared!r})\n"


def pyinfra(work, root):
    text = f"""
from io import StringIO
from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files, server

number = host.data.number
folder = f"{root}/host-{{number}}"


def content(n):
    lines = [f"# file {{n}} of host-{{number}}"] + [f"key{{line}} = value {{n * 7 + line}}" for line in range(12)]
    return "\\n".join(lines) + "\\n"


for n in range({work.files}):
    files.put(src=StringIO(content(n)), dest=f"{{folder}}/file-{{n}}.conf", mode="644")
"""
    if work.mixed:
        text += """
for n in range(20):
    files.directory(path=f"{folder}/dir-{n}", mode="750")
for n in range(10):
    files.link(path=f"{folder}/link-{n}", target=f"{folder}/file-{n}.conf")
for n in range(10):
    files.line(path=f"{folder}/line-{n}.txt", line=f"third = {n}")
for n in range(10):
    files.block(path=f"{folder}/block-{n}.txt", content=f"a = {n}\\nb = {n}")
for n in range(10):
    if not host.get_fact(File, path=f"{folder}/done-{n}"):
        server.shell(commands=f"touch {folder}/done-{n}")
"""
    return text


# The floors: the least that any program over OpenSSH can need.


def check(work, root, host):
    """One shell command that reads all that a no-op must compare."""
    folder = work.folder(root, host)
    return f"cd {folder} && stat -c '%n %a %U %G %s %F' -- * && find . -type f -exec sha256sum {{}} +"


def unpack(work, root, host):
    folder = work.folder(root, host)
    return f"mkdir -p {folder} && tar -x -C {folder} && cd {folder} && sha256sum -- *"


