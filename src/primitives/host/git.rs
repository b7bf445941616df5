//! git on a host: what is asked of it, what it answers, and the commands that bring a tree to a commit.

use super::handle::Host;
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// What a repository has under a name.
#[derive(Debug, Clone, Default)]
pub enum Remote {
    /// A commit, and the branch that the name means.
    Commit {
        /// Its hash.
        commit: String,
        /// `None` for a tag or a commit.
        branch: Option<String>,
    },
    /// Nobody can look yet.
    Unknown(Unknown),
    /// Nobody has looked.
    #[default]
    Unasked,
}

/// A working tree that was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Tree {
    /// Nothing, or an empty folder.
    Absent,
    /// Something else than a working tree.
    Other(String),
    /// A working tree.
    Here {
        /// Where it comes from.
        repo: Option<String>,
        /// Where it stands; none where nothing was checked out yet.
        commit: Option<String>,
        /// On which branch, if on one.
        branch: Option<String>,
        /// Whose it is.
        owner: String,
        /// The files that differ from the commit.
        modified: Vec<String>,
    },
}

/// Whether an address holds a password: `https://user:password@…`.
pub fn holds_password(repo: &str) -> bool {
    let authority = repo.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.and_then(|authority| authority.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

/// Tells git the password over its environment: neither its arguments nor the files of the tree hold it.
pub const HELPER: &str = r#"export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=credential.helper GIT_CONFIG_VALUE_0= GIT_CONFIG_KEY_1=credential.helper
export GIT_CONFIG_VALUE_1='!f() { test "$1" = get && printf "username=%s\npassword=%s\n" "$HOMELAB_GIT_USERNAME" "$HOMELAB_GIT_PASSWORD"; }; f'
"#;

/// git runs as the one whose tree it is: its settings and hooks are that user's, and must not be root's commands.
pub const AS_OWNER: &str = r#"has_git() { command -v git > /dev/null 2>&1 || { echo 'git: not found' >&2; return 1; }; }
[ -n "$owner" ] || ! [ -e "$path" ] || owner=$(stat -c %U -- "$path") || exit 1
as_owner() {
  has_git || return
  [ "$owner" != UNKNOWN ] || { echo "$path belongs to a user that does not exist any more" >&2; return 1; }
  if [ -z "$owner" ] || [ "$owner" = "$(id -un)" ]; then sh -c "$1" < /dev/null
  else su -s /bin/sh -c "$1" "$owner" < /dev/null; fi
}
"#;

/// What stands there: without the notes that git takes on the way. The tree is asked as its owner, not as the one who is wanted.
pub const QUESTION: &str = r#"export GIT_OPTIONAL_LOCKS=0
[ -e "$path" ] || [ -L "$path" ] || { echo absent; exit 0; }
[ -d "$path" ] && ! [ -L "$path" ] || { echo 'other no folder'; exit 0; }
[ -n "$(ls -A -- "$path")" ] || { echo absent; exit 0; }
[ -e "$path/.git" ] || { echo 'other a folder with something else in it'; exit 0; }
owner=$(stat -c %U -- "$path") || exit 1
echo here; echo "owner $owner"
as_owner 'cd "$path" || exit 1
repo=$(git config --get remote.origin.url) && printf "repo %s\n" "$repo"
commit=$(git rev-parse -q --verify HEAD) && echo "commit $commit"
branch=$(git symbolic-ref -q --short HEAD) && echo "branch $branch"
[ -z "$commit" ] || git -c core.quotePath=false status --porcelain --untracked-files=no | sed "s/^.../modified /"
git rev-parse --git-dir > /dev/null'
"#;

/// Asks the repository what it has under a name.
pub fn look_up(revision: &str) -> String {
    let names = ["HEAD".to_owned(), format!("refs/heads/{revision}"), format!("refs/tags/{revision}*")];
    let names = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(" ");
    let words = format!("cd / && git ls-remote --symref -- \"$repo\" {names}");
    format!(
        "if [ -n \"$owner\" ] && ! id -- \"$owner\" > /dev/null 2>&1; then echo \"user $owner does not exist\" >&2; exit 1; fi\nas_owner {}\n",
        quote(&words)
    )
}

/// What the answer says: a branch goes before a tag of the same name.
pub fn found(answer: &str, revision: &str) -> Option<Remote> {
    let lines = || answer.lines().filter_map(|line| line.split_once('\t'));
    let hash = |name: &str| {
        lines().find(|(hash, known)| *known == name && !hash.starts_with("ref: ")).map(|(hash, _)| hash.to_owned())
    };
    if revision == "HEAD" {
        let branch =
            lines().find_map(|(target, name)| target.strip_prefix("ref: refs/heads/").filter(|_| name == "HEAD"));
        return Some(Remote::Commit { commit: hash("HEAD")?, branch: branch.map(str::to_owned) });
    }
    if let Some(commit) = hash(&format!("refs/heads/{revision}")) {
        return Some(Remote::Commit { commit, branch: Some(revision.to_owned()) });
    }
    let tag = format!("refs/tags/{revision}");
    // An annotated tag is a thing of its own; with `^{}` it is the commit that it stands for.
    let commit = hash(&format!("{tag}^{{}}")).or_else(|| hash(&tag))?;
    Some(Remote::Commit { commit, branch: None })
}

/// Brings the tree to the commit. What is begun here is gone on with by the next run.
pub const CHANGE: &str = r#"has_git || exit 1
if ! [ -e "$path" ]; then mkdir -- "$path" || exit 1; fi
if [ -n "$owner" ] && [ "$owner" != "$(stat -c %U -- "$path")" ]; then chown -R -- "$owner:" "$path" || exit 1; fi
[ -n "$work" ] || exit 0
as_owner 'cd "$path" || exit 1
[ -e .git ] || git init -q . || exit 1
if git config --get remote.origin.url > /dev/null; then git remote set-url origin "$repo"
else git remote add origin "$repo"; fi || exit 1
git fetch -q --prune --tags --force origin "+refs/heads/*:refs/remotes/origin/*" || exit 1
git cat-file -e "$commit^{commit}" 2> /dev/null || { echo "the repository has no commit $commit" >&2; exit 1; }
if [ -z "$force" ] && git rev-parse -q --verify HEAD > /dev/null; then
  [ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "somebody changed files there meanwhile" >&2; exit 1; }
  kept=$(git for-each-ref --contains HEAD refs/remotes/origin refs/tags) || exit 1
  [ -n "$kept" ] || { echo "$(git rev-parse HEAD) is no commit that the repository has" >&2; exit 1; }
fi
if [ -n "$branch" ]; then
  git checkout -q $force -B "$branch" "$commit" && git branch -q --set-upstream-to="origin/$branch"
else git checkout -q $force --detach "$commit"; fi || exit 1
[ -z "$force" ] || git reset -q --hard'
"#;

/// What some refusals mean.
pub fn explain(host: &Host, path: &str, said: &str) -> Option<Error> {
    let error = |class: Class, what: &str| Error::new(class, format!("{}: git_checkout {path}: {what}", host.name()));
    if said.contains("git: not found") {
        return Some(
            error(Class::Blocked, "it has no git").help("install it before: `h.packages(#{ names: [\"git\"] })`"),
        );
    }
    if said.contains("belongs to a user that does not exist") {
        return Some(
            error(Class::Conflict, "git cannot be run as its owner")
                .cause(said)
                .help("give it to somebody else, as root: `chown -R USER: PATH` on the host"),
        );
    }
    if said.contains("is no commit that the repository has") {
        return Some(
            error(Class::Conflict, "somebody made commits there, or the repository took some back")
                .cause(said)
                .help("push or keep them first; `force: true` leaves them behind"),
        );
    }
    let asks = ["could not read Username", "Authentication failed", "Permission denied (publickey"];
    if asks.iter().any(|words| said.contains(words)) {
        return Some(
            error(Class::Permission, "the repository lets it not in")
                .cause(said)
                .help("over https `username` and `password`, over SSH a `key` or those of the `owner`"),
        );
    }
    if said.contains("Host key verification failed") {
        return Some(
            error(Class::Permission, "the host does not know the key of the repository's server").cause(said).help(
                "put it into the known_hosts of whoever runs git: `h.line(#{ path: \"/etc/ssh/ssh_known_hosts\", … })`",
            ),
        );
    }
    None
}

impl Tree {
    /// What the answer says.
    pub fn parse(address: &str, answer: &str) -> Result<Self> {
        let (first, rest) = answer.split_once('\n').unwrap_or((answer, ""));
        if let Some(what) = first.strip_prefix("other ") {
            return Ok(Tree::Other(what.to_owned()));
        }
        match first {
            "absent" => return Ok(Tree::Absent),
            "here" => {}
            _ => {
                return Err(Error::new(Class::Failed, format!("{address}: the host's answer about it makes no sense"))
                    .cause(format!("it begins with {first:?}"))
                    .help("look with `git status` on the host"));
            }
        }
        let told = |what: &str| rest.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        let modified = rest.lines().filter_map(|line| line.strip_prefix("modified ")).map(str::to_owned);
        Ok(Tree::Here {
            repo: told("repo").map(str::to_owned),
            commit: told("commit").map(str::to_owned),
            branch: told("branch").map(str::to_owned),
            owner: told("owner").unwrap_or_default().to_owned(),
            modified: modified.collect(),
        })
    }

    /// As a state.
    pub fn into_state(self, address: &str) -> Result<State> {
        let (repo, commit, branch, owner, modified) = match self {
            Tree::Absent => return Ok(State::Absent),
            Tree::Other(what) => {
                return Err(Error::new(Class::Conflict, format!("{address}: is no working tree of git but {what}"))
                    .help("choose another path, or remove it with `directory` or `file` and `absent: true`"));
            }
            Tree::Here { repo, commit, branch, owner, modified } => (repo, commit, branch, owner, modified),
        };
        // A branch without a commit is only the name that the first one will have.
        let branch = branch.filter(|_| commit.is_some());
        let texts = [("repo", repo), ("commit", commit), ("branch", branch), ("owner", Some(owner))];
        let mut map: Map =
            texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::Text(text?)))).collect();
        if !modified.is_empty() {
            map.insert("modified".to_owned(), Value::List(modified.into_iter().map(Value::Text).collect()));
        }
        Ok(State::Here(Value::Map(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_seen() {
        assert!(holds_password("https://me:tiger@git.example.org/app"));
        for plain in
            ["https://git.example.org:8443/a:b@c", "https://me@git.example.org/app", "git@example.org:app", "/srv/a"]
        {
            assert!(!holds_password(plain), "{plain}");
        }
    }

    #[test]
    fn a_name_is_a_branch_before_it_is_a_tag_and_a_tag_is_its_commit() {
        let said = "ref: refs/heads/main\tHEAD\n11\tHEAD\n11\trefs/heads/main\n22\trefs/tags/v1\n33\trefs/tags/v1^{}\n44\trefs/tags/v10\n55\trefs/tags/main\n";
        let meant = |name: &str| match found(said, name) {
            Some(Remote::Commit { commit, branch }) => Some((commit, branch)),
            _ => None,
        };
        assert_eq!(meant("HEAD"), Some(("11".to_owned(), Some("main".to_owned()))));
        assert_eq!(meant("main"), Some(("11".to_owned(), Some("main".to_owned()))));
        assert_eq!(meant("v1"), Some(("33".to_owned(), None)));
        assert_eq!(meant("v10"), Some(("44".to_owned(), None)));
        assert_eq!(meant("v2"), None);
    }

    #[test]
    fn a_tree_is_read() {
        let said = "here\nowner ops\nrepo /srv/a b\ncommit 11\nbranch main\nmodified a b\nmodified c\n";
        let State::Here(state) = Tree::parse("x", said).and_then(|tree| tree.into_state("x")).expect("sound") else {
            panic!("it is there")
        };
        assert_eq!(state.get("repo"), Some(&Value::from("/srv/a b")));
        assert_eq!(state.get("modified"), Some(&Value::from(serde_json::json!(["a b", "c"]))));
        assert!(
            Tree::parse("x", "other a folder with something else in it\n")
                .and_then(|tree| tree.into_state("x"))
                .is_err()
        );
        assert!(Tree::parse("x", "").is_err());
    }
}
