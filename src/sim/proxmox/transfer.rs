//! Files that come to a storage from outside: downloaded by the node, or sent with a request.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::Sums;
use super::cluster::Cluster;
use super::effects::Effect;
use super::outside::{Address, Fetched, WebFile, WebServer};
use super::storage::Storage;
use super::volume::{Volume, blocks};
use super::volume_name::{check_upload, normalised};
use super::wget::{RATE, progress, rounded, stamp};
use crate::sim::guests::StandsFor;

/// A file to be fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DownloadOrder {
    storage: String,
    content: String,
    file: String,
    url: String,
    /// The algorithm and the sum that the file must have.
    checksum: Option<(String, String)>,
    compression: Option<String>,
}

/// A file that came with a request, without its bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upload {
    /// Where the real API keeps it meanwhile.
    pub(crate) temporary: String,
    pub(crate) length: u64,
    pub(crate) sums: Sums,
    /// Its first bytes, which tell what it is.
    pub(crate) head: Vec<u8>,
}

/// A file that was sent, to be put on a storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadOrder {
    storage: String,
    content: String,
    file: String,
    upload: Upload,
    checksum: Option<(String, String)>,
}

fn checksum(call: &Call) -> Option<(String, String)> {
    let sum = call.params.get("checksum").filter(|sum| !sum.is_empty())?;
    Some((call.params.text("checksum-algorithm").to_string(), sum.to_string()))
}

fn check_name(content: &str, file: &str) -> Result<(), Refusal> {
    check_upload(content, file).map_err(|text| Refusal::parameter("filename", text))?;
    if file.ends_with(".ova") && content == "import" {
        return Err(Refusal::not_simulated("what is in an OVA file"));
    }
    Ok(())
}

/// `POST …/download-url`.
pub(crate) fn download(cluster: &mut Cluster, call: &Call) -> Outcome {
    let params = &call.params;
    let (id, content) = (params.text("storage").to_string(), params.text("content").to_string());
    let storage = cluster.check_enabled(&call.node, &id)?;
    if !storage.has_files() {
        let kind = storage.kind.name;
        return Err(format!("can't upload to storage type '{kind}', not a file based storage!").into());
    }
    if !storage.holds(&content) {
        return Err(format!("storage '{id}' is not configured for content-type '{content}'").into());
    }
    let file = normalised(params.text("filename"));
    check_name(&content, &file)?;
    cluster.activate(&call.node, &id)?;
    let compression = params.get("compression").map(str::to_string);
    if compression.is_some() && content == "iso" {
        return Err(Refusal::not_simulated("what is in a compressed file"));
    }
    let order = DownloadOrder {
        storage: id,
        content,
        file: file.clone(),
        url: params.text("url").into(),
        checksum: checksum(call),
        compression,
    };
    cluster.fork(call, "download", &file, Effect::Download(order))
}

impl DownloadOrder {
    fn id(&self) -> String {
        format!("{}:{}/{}", self.storage, self.content, self.file)
    }

    /// The complaint about another checksum than the one that was asked for.
    fn mismatch(&self, sums: &Sums) -> Option<String> {
        let (algorithm, wanted) = self.checksum.as_ref()?;
        mismatch(algorithm, wanted, sums)
    }
}

fn mismatch(algorithm: &str, wanted: &str, sums: &Sums) -> Option<String> {
    let got = sums.get(algorithm);
    (!got.eq_ignore_ascii_case(wanted)).then(|| format!("checksum mismatch: got '{got}' != expect '{wanted}'"))
}

/// What the name of its file says that an image is, against what it is.
fn check_image(content: &str, format: &str, image: Option<&(String, u64)>) -> Result<(), &'static str> {
    let right = content != "import" || format == "raw" || image.is_some_and(|(found, _)| found == format);
    if right { Ok(()) } else { Err("failed to query file information with qemu-img") }
}

/// The beginning of a download, and its end when there is nothing to fetch.
pub(crate) fn begin_download(
    cluster: &mut Cluster,
    node: &str,
    order: &DownloadOrder,
    now: u64,
    log: &mut Vec<String>,
) -> Result<u64, String> {
    if order.compression.is_some() {
        return Err(format!("decompression not supported for {}", order.content));
    }
    let path = cluster.path_of(&order.id());
    log.push(format!("downloading {} to {path}", order.url));
    if let Some(there) = cluster.volume(node, &order.id()) {
        if order.checksum.is_none() {
            return Err(format!("refusing to override existing file '{path}'"));
        }
        let line = "calculating checksum of existing file...";
        return match order.mismatch(&there.sums) {
            Some(text) => {
                log.push(line.into());
                Err(format!("{text}, aborting"))
            }
            None => {
                log.push(format!("{line}OK, got correct file already, no need to download"));
                Ok(10)
            }
        };
    }
    log.push(format!("--{}--  {}", stamp(now), order.url));
    let temporary = format!("{path}.tmp_dwnl.{}", cluster.next_pid());
    let address = Address::read(&order.url);
    let (host, port) = (address.host, address.port);
    let connecting = |server: &WebServer| {
        let named = if server.address.is_empty() { String::new() } else { format!(" ({host})|{}|", server.address) };
        format!("Connecting to {host}{named}:{port}... connected.")
    };
    let resolving = |server: &WebServer| format!("Resolving {host} ({host})... {}", server.address);
    match cluster.outside.fetch(node, &address) {
        Fetched::NoName => {
            log.push(format!("Resolving {host} ({host})... failed: Name or service not known."));
            Err(format!("download failed: wget: unable to resolve host address '{host}'"))
        }
        Fetched::NoAnswer(why) => Err(format!("download failed: Connecting to {host}:{port}... failed: {why}.")),
        Fetched::Missing(server) => {
            log.extend((!server.address.is_empty()).then(|| resolving(server)));
            log.push(connecting(server));
            log.push(format!("HTTP request sent, awaiting response... 404 {}", server.missing));
            log.push(format!("{} ERROR 404: {}.", stamp(now), server.missing));
            Err("download failed: exit code 8".into())
        }
        Fetched::File(server, file) => {
            log.extend((!server.address.is_empty()).then(|| resolving(server)));
            log.push(connecting(server));
            log.push("HTTP request sent, awaiting response... 200 OK".into());
            log.push(format!("Length: {}{} [{}]", file.length, rounded(file.length), kind_of(address.path)));
            log.push(format!("Saving to: '{temporary}'"));
            Ok(100 + file.length / RATE * 1000)
        }
    }
}

/// The end of a download.
pub(crate) fn finish_download(
    cluster: &mut Cluster,
    node: &str,
    order: &DownloadOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let id = order.id();
    let Some(temporary) = log.iter().find_map(|line| line.strip_prefix("Saving to: '")?.strip_suffix('\'')) else {
        // The file was there.
        return Ok(0);
    };
    let temporary = temporary.to_string();
    let path = cluster.path_of(&id);
    let storage = cluster.activate(node, &order.storage)?;
    let place = storage.place(node, &cluster.outside);
    let file = match cluster.outside.fetch(node, &Address::read(&order.url)) {
        Fetched::File(_, file) => file.clone(),
        _ => return Err("download failed: exit code 4".into()),
    };
    let length = file.length;
    log.extend(progress(length));
    log.push(format!("{} (105 MB/s) - '{temporary}' saved [{length}/{length}]", stamp(at)));
    if order.checksum.is_some() {
        let line = "calculating checksum...";
        if let Some(text) = order.mismatch(&file.sums) {
            log.push(line.into());
            return Err(text);
        }
        log.push(format!("{line}OK, checksum verified"));
    }
    let format = cluster.read_id(&id)?.1.format;
    check_image(&order.content, &format, file.image.as_ref())
        .map_err(|text| format!("failed to verify file: {text}"))?;
    let WebFile { image, sums, system, .. } = file;
    let size = image.map_or(length, |(_, size)| size);
    let name = format!("{}/{}", order.content, order.file);
    let host = cluster.machines.node(node).map(|machine| {
        let large = StandsFor { length, sha256: sums.get("sha256").to_owned() };
        machine.write_large(&path, &format!("what is at {}\n", order.url), large);
        node.to_owned()
    });
    cluster.put_volume(Volume {
        size: if order.content == "import" { size } else { length },
        length,
        used: blocks(length),
        format,
        content: order.content.clone(),
        ctime: at / 1000,
        published: system.is_some(),
        system,
        sums,
        fetched_to: host.is_some().then(|| path.clone()),
        host,
        ..Volume::at(place, name)
    });
    log.push(format!("download of '{}' to '{path}' finished", order.url));
    Ok(0)
}

/// The media type that web servers give a file.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("iso") => "application/x-iso9660-image",
        Some("gz" | "tgz") => "application/gzip",
        Some("xz") => "application/x-xz",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

/// `GET /nodes/{node}/query-url-metadata`.
pub(crate) fn look_up(cluster: &mut Cluster, call: &Call) -> Outcome {
    let address = Address::read(call.params.text("url"));
    let wrong = |status: String| Err(format!("invalid server response: '{status}'").into());
    let (host, port) = (address.host, address.port);
    match cluster.outside.fetch(&call.node, &address) {
        Fetched::NoName => wrong(format!("500 Can't connect to {host}:{port} (Name or service not known)")),
        Fetched::NoAnswer(why) => wrong(format!("500 Can't connect to {host}:{port} ({why})")),
        Fetched::Missing(server) => wrong(format!("404 {}", server.missing)),
        Fetched::File(_, file) => Answer::of(json!({
            "filename": address.file_name(), "mimetype": kind_of(address.path), "size": file.length,
        })),
    }
}

/// `POST …/upload`.
pub(crate) fn upload(cluster: &mut Cluster, call: &Call) -> Outcome {
    let params = &call.params;
    let (id, content) = (params.text("storage").to_string(), params.text("content").to_string());
    let node = params.text("node");
    if node != call.node && node != "localhost" {
        return Err(Refusal::not_simulated("sending a file to one node through another"));
    }
    let storage = cluster.check_enabled(&call.node, &id)?;
    if !storage.has_files() {
        return Err(format!("can't upload to storage type '{}'", storage.kind.name).into());
    }
    let Some(upload) = call.upload.clone() else { return Err("missing temporary file name".into()) };
    let file = normalised(params.text("filename"));
    check_name(&content, &file)?;
    if !storage.holds(&content) {
        return Err(format!("storage '{id}' does not support '{content}' content").into());
    }
    if file.ends_with(".vmdk") {
        return Err(Refusal::not_simulated("what is in a VMDK file"));
    }
    cluster.activate(&call.node, &id)?;
    let order = UploadOrder { storage: id, content, file, upload, checksum: checksum(call) };
    cluster.fork(call, "imgcopy", "", Effect::Upload(order))
}

/// The checks of a file that was sent.
pub(crate) fn begin_upload(
    cluster: &Cluster,
    node: &str,
    order: &UploadOrder,
    log: &mut Vec<String>,
) -> Result<u64, String> {
    let UploadOrder { storage, content, file, upload, .. } = order;
    let temporary = &upload.temporary;
    log.push(format!("starting file import from: {temporary}"));
    if let Some((algorithm, wanted)) = &order.checksum {
        let line = "calculating checksum...";
        if let Some(text) = mismatch(algorithm, wanted, &upload.sums) {
            log.push(line.into());
            return Err(text);
        }
        log.push(format!("{line}OK, checksum verified"));
    }
    let id = format!("{storage}:{content}/{file}");
    let format = cluster.read_id(&id)?.1.format;
    let image = qcow2(&upload.head);
    if format == "qcow2" && image.is_none() {
        log.push(format!("qemu-img: Could not open '{temporary}': Image is not in qcow2 format"));
    }
    check_image(content, &format, image.map(|image| ("qcow2".into(), image.size)).as_ref())?;
    if image.is_some_and(|image| image.has_backing_file) && (content == "iso" || format == "qcow2") {
        return Err(format!("backing file not allowed for untrusted image '{temporary}'!"));
    }
    let path = cluster.path_of(&id);
    log.push(format!("target node: {node}"));
    log.push(format!("target file: {path}"));
    log.push(format!("file size is: {}", upload.length));
    log.push(format!("command: cp -- {temporary} {path}"));
    Ok(50)
}

/// Puts a file that was sent on its storage, in the place of one of its name.
pub(crate) fn finish_upload(
    cluster: &mut Cluster,
    node: &str,
    order: UploadOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let storage: &Storage = cluster.activate(node, &order.storage)?;
    let place = storage.place(node, &cluster.outside);
    let UploadOrder { content, file, upload, storage, .. } = order;
    let name = format!("{content}/{file}");
    let id = format!("{storage}:{name}");
    cluster.remove_from_disk(node, &id);
    let format = cluster.read_id(&id)?.1.format;
    let image = qcow2(&upload.head).filter(|_| format == "qcow2");
    cluster.put_volume(Volume {
        size: image.map_or(upload.length, |image| image.size),
        length: upload.length,
        used: blocks(upload.length),
        format,
        content,
        ctime: at / 1000,
        sums: upload.sums,
        ..Volume::at(place, name)
    });
    log.push("finished file import successfully".into());
    Ok(0)
}

/// What the header of a qcow2 image says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Qcow2 {
    size: u64,
    has_backing_file: bool,
}

/// The size of the disk that an image is of, when its bytes say so.
pub(crate) fn disk_size(bytes: &[u8]) -> Option<u64> {
    qcow2(bytes).map(|image| image.size)
}

fn qcow2(head: &[u8]) -> Option<Qcow2> {
    let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    if !head.starts_with(b"QFI\xfb") {
        return None;
    }
    Some(Qcow2 { size: number(24)?, has_backing_file: number(8)? != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_an_image_tells_the_size_of_its_disk() {
        let mut head = vec![0; 512];
        assert_eq!(qcow2(&head), None);
        head[..4].copy_from_slice(b"QFI\xfb");
        head[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
        assert_eq!(qcow2(&head), Some(Qcow2 { size: 1 << 30, has_backing_file: false }));
        head[15] = 1;
        assert!(qcow2(&head).is_some_and(|image| image.has_backing_file));
    }
}
