//! The web around the simulated homelab, as far as its own clients ask it: name servers that answer over HTTPS, the API
//! that the zones are kept with, the API that the repository is kept with, the sites of the zones, and the consoles of the nodes. Nothing else is there, and
//! whoever asks for something else hears that there is no such name.

mod authority;
mod cloudflare;
mod files;
mod flux;
mod github;
mod releases;
mod resolver;
mod serve;
#[cfg(test)]
mod tests;
mod zone;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use authority::{Authority, Signer, authority_file};
pub(crate) use github::Tree;
pub(crate) use serve::{Ask, serve};
pub(crate) use zone::Zone;

use super::seed::{InternetSeed, WebSeed};
use super::world::Secrets;

/// Everything on the web.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Internet {
    resolvers: Vec<Place>,
    cloudflare: Option<Place>,
    github: Option<Place>,
    repositories: Vec<github::Repository>,
    pub(crate) zones: Vec<Zone>,
    /// The consoles by their addresses, with the nodes that power them.
    consoles: BTreeMap<String, String>,
    /// Where K3s is released.
    releases: Option<Place>,
    /// What can be fetched.
    files: Vec<files::Published>,
    /// Whether the token may read zones, and write their records.
    pub(crate) token: Rights,
    /// How many records were ever made.
    made: u64,
}

/// Where on the web something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    host: String,
    path: String,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rights {
    pub(crate) zone_read: bool,
    pub(crate) dns_edit: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Rights { zone_read: true, dns_edit: true }
    }
}

/// What is at a host of the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    Resolver,
    Cloudflare,
    GitHub,
    /// Where releases are listed.
    Releases,
    /// Where their files are.
    Assets,
    /// The root of a zone: the site that it is for.
    Home,
    Console,
    Files,
}

impl Place {
    /// Takes a URL of HTTPS apart.
    fn of(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("https://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = format!("/{}", path.trim_end_matches('/'));
        (!host.is_empty()).then(|| Place { host: host.to_ascii_lowercase(), path })
    }
}

impl Internet {
    /// The web of a seed.
    pub(crate) fn found(seed: &InternetSeed, web: &[WebSeed]) -> Self {
        Internet {
            resolvers: seed.resolvers.iter().filter_map(|url| Place::of(url)).collect(),
            cloudflare: Place::of(&seed.cloudflare),
            github: Place::of(&seed.github),
            repositories: seed.repositories.iter().map(github::Repository::of).collect(),
            zones: seed.zones.iter().map(Zone::found).collect(),
            consoles: seed.consoles.iter().map(|console| (console.ip.clone(), console.node.clone())).collect(),
            releases: Place::of(&seed.releases),
            files: [files::published(web), files::keys(&seed.keys)].concat(),
            token: Rights::default(),
            made: 0,
        }
    }

    /// The names of its sites, which its certificate is for.
    pub(crate) fn names(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| &file.place);
        let places = self
            .resolvers
            .iter()
            .chain(&self.cloudflare)
            .chain(&self.github)
            .chain(files)
            .map(|place| place.host.clone());
        let releases = self.releases.iter().flat_map(|place| [place.host.clone(), releases::ASSETS.to_owned()]);
        let zones = self.zones.iter().map(|zone| zone.name.clone());
        let mut names: Vec<String> = places.chain(releases).chain(zones).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether there is a site of this name with this port: 443, or 80 at a console.
    pub(crate) fn has(&self, host: &str, port: u16) -> bool {
        match self.site(host) {
            Some(Site::Console) => port == 80,
            Some(_) => port == 443,
            None => false,
        }
    }

    /// The token that has to be known at a host.
    fn token_at<'s>(&self, host: &str, secrets: &'s Secrets) -> &'s str {
        match self.site(host) {
            Some(Site::Cloudflare) => &secrets.cloudflare,
            Some(Site::GitHub) => &secrets.github,
            _ => "",
        }
    }

    /// Where the service of the zones is: its host, and the path below which it answers.
    pub(crate) fn cloudflare_place(&self) -> Option<(String, String)> {
        self.cloudflare.as_ref().map(|place| (place.host.clone(), place.path.clone()))
    }

    /// The address that a zone tells for a name, or for all names below one of those that it is in.
    pub(crate) fn resolved(&self, name: &str) -> Option<String> {
        let zone = self.zone_of(name).filter(|zone| zone.delegation.is_none())?;
        let mut patterns = vec![name.to_owned()];
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            patterns.push(format!("*.{parent}"));
            rest = parent;
        }
        patterns.iter().find_map(|pattern| zone.of(pattern, "A").first().map(|record| record.content.clone()))
    }

    /// A repository, as somebody sees it who reads it with a key.
    pub(crate) fn clone_by_key(&self, owner: &str, name: &str, key: &str) -> Result<Tree, String> {
        github::clone_by_key(&self.repositories, owner, name, key)
    }

    /// The node that powers the console at an address.
    pub(crate) fn console_of(&self, address: &str) -> Option<&str> {
        self.consoles.get(address).map(String::as_str)
    }

    fn site(&self, host: &str) -> Option<Site> {
        let host = host.to_ascii_lowercase();
        if self.consoles.contains_key(&host) {
            Some(Site::Console)
        } else if self.resolvers.iter().any(|place| place.host == host) {
            Some(Site::Resolver)
        } else if self.cloudflare.as_ref().is_some_and(|place| place.host == host) {
            Some(Site::Cloudflare)
        } else if self.github.as_ref().is_some_and(|place| place.host == host) {
            Some(Site::GitHub)
        } else if let Some(place) = &self.releases
            && (place.host == host || host == releases::ASSETS)
        {
            Some(if place.host == host { Site::Releases } else { Site::Assets })
        } else if self.files.iter().any(|file| file.place.host == host) {
            Some(Site::Files)
        } else {
            self.zones.iter().any(|zone| zone.name == host && !zone.of(&host, "A").is_empty()).then_some(Site::Home)
        }
    }

    /// The addresses of a name, as any resolver tells them. The sites of the web have addresses for documentation.
    pub(crate) fn addresses(&self, name: &str) -> Vec<String> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(zone) = self.zone_of(&name) {
            let is_sound = zone.delegation.is_none();
            return if is_sound {
                zone.of(&name, "A").iter().map(|one| one.content.clone()).collect()
            } else {
                Vec::new()
            };
        }
        let at = self.names().iter().position(|known| *known == name);
        at.map(|at| format!("192.0.2.{}", at + 1)).into_iter().collect()
    }

    /// The zone that a name is in: the one with the longest name of those that fit.
    fn zone_of(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().filter(|zone| zone.has(name)).max_by_key(|zone| zone.name.len())
    }
}
